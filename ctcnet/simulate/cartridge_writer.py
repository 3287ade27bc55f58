"""Simulated cartridges as a scanner would write them, with the truth beside the frames."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import torch

import ctcnet
from ctcnet.crops.source_kind import SIMULATION_FILE
from ctcnet.errors import SettingError
from ctcnet.output import new_output_dir
from ctcnet.panel import Panel, load_panel
from ctcnet.progress import track
from ctcnet.simulate.cartridge_truth import truth_table
from ctcnet.simulate.crop_simulator import DIFFICULTIES
from ctcnet.simulate.field_events import EventNumbers
from ctcnet.simulate.field_grid import FieldGrid, grid_shape
from ctcnet.simulate.field_renderer import ChannelShift, FieldRenderer
from ctcnet.simulate.field_scene import compose_field, draw_patient, rendered_roles
from ctcnet.simulate.groups import Groups
from ctcnet.simulate.layouts.layout import FileSettings, Layout
from ctcnet.simulate.layouts.registry import find_layout

TRUTH_FILE = "truth.parquet"
DEBRIS_PER_NUCLEUS = 0.03
FRAME_SIZE_PX = (64, 8192)
MOST_NUCLEI_PER_MM2 = 6000.0

EIGHT_BIT_ELECTRONS: dict[str, float] = {"nucleus": 15.0, "epithelial": 2.0, "leukocyte": 1.7}
"""Electrons per count of 8-bit files by role, such that leukocytes look as on a real BZScanner slide; others 4."""
EIGHT_BIT_BACKGROUND: dict[str, float] = {"nucleus": -1.0, "epithelial": 2.0}
"""Counts that the background becomes in 8-bit files by role; others 1. Below 0 it is clipped."""
EIGHT_BIT_BACKGROUND_E = 8.0
"""Electrons behind that background, which make its noise."""


def write_simulated_cartridge(
    out: str | Path,
    *,
    layout: str,
    frames: int,
    nuclei_per_frame: int,
    seed: int,
    ctc: int = 0,
    clusters_neutrophil: int = 0,
    clusters_platelet: int = 0,
    debris_per_frame: float | None = None,
    panel: Panel | str | Path | None = None,
    pixel_size_um: float | None = None,
    frame_size_px: tuple[int, int] | None = None,
    compression: str = "none",
    bit_depth: int | None = None,
    jpeg: bool = False,
    specks_per_mm2: float | None = None,
    difficulty: str = "standard",
    channel_shifts: Sequence[ChannelShift] = (),
    overwrite: bool = False,
) -> Path:
    """Write one simulated cartridge below `out` and return `out`.

    Files: the scanner's own, `truth.parquet` (see `cartridge_truth.truth_table`) and `simulation.json` (settings, seed,
    version). The same arguments give the same bytes on one machine. Frames are rendered one by one; what is kept of
    the whole cartridge is about half a kilobyte for each cell.

    Args:
        out: folder to write.
        layout: name of a layout, see `layouts.registry`.
        frames: number of frames; full scans get the scanner's grid, others one of a like shape.
        nuclei_per_frame: leukocytes on the area of one frame, on average over the area that can hold cells.
        seed: 0 or more.
        ctc: events of class ctc in the whole cartridge (one in ten is two CTCs in contact).
        clusters_neutrophil, clusters_platelet: clusters in the whole cartridge.
        debris_per_frame: pieces of debris on the area of one frame; `DEBRIS_PER_NUCLEUS` of the nuclei where None.
        panel: the layout's own where None.
        pixel_size_um: the layout's own where None.
        frame_size_px: width and height; the layout's own where None.
        compression: 'none', 'lzw' or 'deflate', where the layout has it.
        bit_depth: bits of the stored pixels, where the layout has a choice.
        jpeg: 8-bit JPEG files (BZScanner only).
        specks_per_mm2: specks of stain; the layout's or the patient's where None.
        difficulty: a name in `crop_simulator.DIFFICULTIES`.
        channel_shifts: faults, see `field_renderer.ChannelShift`.
        overwrite: replace an `out` that exists.

    Raises:
        SettingError, PanelError: an argument cannot be used.
        OutputError: `out` exists already or cannot be written.
    """
    chosen = find_layout(layout)
    grid = _grid(chosen, frames, frame_size_px, pixel_size_um)
    shown = _panel(chosen, panel, grid.pixel_size_um, jpeg)
    _check(chosen, compression, bit_depth, jpeg, difficulty, channel_shifts, shown, grid)
    debris = DEBRIS_PER_NUCLEUS * nuclei_per_frame if debris_per_frame is None else debris_per_frame
    rare = {"ctc": ctc, "clusters_neutrophil": clusters_neutrophil, "clusters_platelet": clusters_platelet}
    density = chosen.specks_per_mm2 if specks_per_mm2 is None else specks_per_mm2
    _check_numbers(
        {"nuclei_per_frame": nuclei_per_frame, "debris_per_frame": debris, **rare, "specks_per_mm2": density}
    )
    numbers = _numbers(grid, chosen.rim_um, nuclei_per_frame, debris, rare)
    if not 0 <= seed < 2**63:
        raise SettingError("is out of range", where="seed", expected="0 or more, below 2**63", found=str(seed))
    stored_bits = 8 if jpeg else bit_depth or chosen.stored_bits[0]
    with new_output_dir(out, overwrite=overwrite, made_with=SIMULATION_FILE) as folder:
        name = "simulated"
        writer = chosen.open_writer(FileSettings(folder, name, shown, grid, compression, stored_bits, jpeg))
        group = draw_patient(shown, seed, DIFFICULTIES[difficulty])
        if shown.bit_depth == 8:
            group = _eight_bit(group, shown)
        scene = compose_field(
            shown, grid, numbers, seed=seed, group=group, rim_um=chosen.rim_um, specks_per_mm2=density
        )
        truth = truth_table(scene, grid)
        renderer = FieldRenderer(scene, shown, grid, channel_shifts)
        for place in track(grid.scan_order(), "Simulating frames"):
            writer.write(place, renderer.frame(place))
        writer.finish(truth)
        pq.write_table(truth, folder / TRUTH_FILE)
        settings = {
            "simulated": True,
            "ctcnet_version": ctcnet.__version__,
            "seed": seed,
            "layout": chosen.name,
            "grid": asdict(grid),
            "events": asdict(numbers),
            "nuclei_per_frame": nuclei_per_frame,
            "specks_per_mm2": scene.specks_per_mm2,
            "rim_um": chosen.rim_um,
            "compression": compression,
            "stored_bits": stored_bits,
            "jpeg": jpeg,
            "difficulty": difficulty,
            "channel_shifts": [asdict(shift) for shift in channel_shifts],
            "panel": shown.to_dict(),
        }
        (folder / SIMULATION_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return Path(out)


def shows_platelets(out: Path) -> bool:
    """Whether the panel of a simulated cartridge has a channel for platelets."""
    record = json.loads((out / SIMULATION_FILE).read_text(encoding="utf-8"))
    return any(channel["role"] == "platelet" for channel in record["panel"]["channels"])


def _grid(layout: Layout, frames: int, frame_size_px: tuple[int, int] | None, pixel_size_um: float | None) -> FieldGrid:
    width, height = layout.frame_size_px if frame_size_px is None else frame_size_px
    size_um = layout.pixel_size_um if pixel_size_um is None else pixel_size_um
    least, most = FRAME_SIZE_PX
    if not (least <= width <= most and least <= height <= most):
        raise SettingError(
            "is outside its range", where="frame_size_px", expected=f"{least} to {most}", found=f"{width} x {height}"
        )
    if not 0.1 <= size_um <= 2.0:
        raise SettingError("is outside its range", where="pixel_size_um", expected="0.1 to 2", found=str(size_um))
    rows, columns = grid_shape(frames, layout.scanner_shape, dict(layout.known_shapes))
    return FieldGrid(
        rows=rows,
        columns=columns,
        frame_height_px=height,
        frame_width_px=width,
        pixel_size_um=size_um,
        overlap_x_px=layout.overlap_px,
        overlap_y_px=layout.overlap_px,
        serpentine=layout.serpentine,
        first_number=layout.first_number,
    )


def _panel(layout: Layout, panel: Panel | str | Path | None, pixel_size_um: float, jpeg: bool) -> Panel:
    chosen = panel if isinstance(panel, Panel) else load_panel(layout.panel if panel is None else panel)
    if jpeg:
        kept = tuple(c for c in chosen.channels if not (c.role == "none" and c.fluorophore is None))
        chosen = replace(chosen, channels=kept, bit_depth=8)
    return replace(chosen, pixel_size_um=pixel_size_um)


def _check(
    layout: Layout,
    compression: str,
    bit_depth: int | None,
    jpeg: bool,
    difficulty: str,
    shifts: Sequence[ChannelShift],
    panel: Panel,
    grid: FieldGrid,
) -> None:
    for where, value, allowed in (
        ("compression", compression, layout.compressions),
        ("difficulty", difficulty, tuple(DIFFICULTIES)),
        ("bit_depth", layout.stored_bits[0] if bit_depth is None else bit_depth, layout.stored_bits),
        ("jpeg", jpeg, (False, True) if layout.jpeg else (False,)),
        *(("channel_shift", shift.marker, panel.markers) for shift in shifts),
        *(
            ("channel_shift", number, tuple(place.number for place in grid.scan_order()))
            for shift in shifts
            for number in shift.frames
        ),
    ):
        if value not in allowed:
            expected = ", ".join(map(str, allowed[:12])) + (", ..." if len(allowed) > 12 else "")
            raise SettingError(
                f"cannot be had with the layout {layout.name}", where=where, expected=expected, found=str(value)
            )


def _check_numbers(numbers: Mapping[str, float | None]) -> None:
    for where, value in numbers.items():
        if value is not None and not 0 <= value < math.inf:
            raise SettingError("is below 0 or no number", where=where, expected="0 or more", found=str(value))


def _numbers(
    grid: FieldGrid, rim_um: float, nuclei_per_frame: int, debris_per_frame: float, rare: Mapping[str, int]
) -> EventNumbers:
    """Events in the whole cartridge."""
    frame_mm2 = grid.frame_width_px * grid.frame_height_px * grid.pixel_size_um**2 * 1e-6
    width_um, height_um = (size * grid.pixel_size_um - 2 * rim_um for size in (grid.width_px, grid.height_px))
    frames = max(0.0, width_um) * max(0.0, height_um) * 1e-6 / frame_mm2
    most = MOST_NUCLEI_PER_MM2 * frame_mm2
    asked = {"nuclei_per_frame": (nuclei_per_frame, most), "debris_per_frame": (debris_per_frame, most)}
    asked |= {where: (number, most * frames) for where, number in rare.items() if frames > 0}
    for where, (number, limit) in asked.items():
        if number > limit:
            raise SettingError(
                "is more than lies side by side",
                where=where,
                expected=f"{int(limit)} at most in frames of this size and number",
                found=str(number),
            )
    return EventNumbers(**rare, leukocytes=round(nuclei_per_frame * frames), debris=round(debris_per_frame * frames))


def _eight_bit(group: Groups, panel: Panel) -> Groups:
    """The group under the exposure and the display stretch that 8-bit files of a scanner have."""
    roles = rendered_roles(panel)
    per_count = torch.tensor([[EIGHT_BIT_ELECTRONS.get(role, 4.0) for role in roles]]) * group.stain
    background = torch.tensor([[EIGHT_BIT_BACKGROUND.get(role, 1.0) for role in roles]])
    background_e = torch.full_like(group.background_e, EIGHT_BIT_BACKGROUND_E)
    return replace(
        group,
        electrons_per_count=per_count,
        background_e=background_e,
        offset_counts=background - background_e / per_count,
    )
