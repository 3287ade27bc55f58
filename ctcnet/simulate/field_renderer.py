"""Frames of a simulated cartridge, one at a time, in camera counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ctcnet.panel import Panel
from ctcnet.simulate import camera, optics, shapes
from ctcnet.simulate.crop_simulator import DEFAULT_EMISSION_NM, NUMERICAL_APERTURE, TEXTURES
from ctcnet.simulate.dots import LARGEST_SIGMA_UM, SPECK_SIGMA_UM
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.field_canvas import FieldCanvas
from ctcnet.simulate.field_dots import TileDots
from ctcnet.simulate.field_grid import FieldGrid, FramePlace
from ctcnet.simulate.field_scene import FRAME_STREAM, PATIENT_STREAM, FieldScene, stream_seed
from ctcnet.simulate.objects import Bodies, Dots
from ctcnet.simulate.stamping import PATCH_LADDER_UM

Objects = TypeVar("Objects", Bodies, Dots)

LAYER_DEFOCUS_UM: tuple[float, ...] = (0.0, 4.0, 11.0)
"""Distance from the focal plane of the focus layers: settled cells, cells a little off it, smears."""
MARGIN_UM = 7.0
"""How far beyond a frame objects are drawn that still shine in (three standard deviations of a smear)."""
VIGNETTING = (0.04, 0.12)
"""Range of the loss of light from a frame's middle to its corner."""
TILT_SD = 0.02
FRAME_DRIFT_SD = 0.03
"""Relative spread of the background between frames."""
RIM_ELECTRONS = 4000.0
"""Peak of the light that the cartridge's wall scatters into every channel."""


@dataclass(frozen=True)
class ChannelShift:
    """A fault: one channel does not lie on the others.

    Attributes:
        marker: the channel.
        x_px, y_px: by how much its content is displaced, to the right and downwards.
        frames: numbers of the frames concerned; empty for all.
    """

    marker: str
    x_px: float
    y_px: float
    frames: tuple[int, ...] = ()


class FieldRenderer:
    """Renders frames of a scene. A frame's pixels depend on the scene and the frame alone, not on frames before it.

    Args:
        scene: what lies in the cartridge.
        panel: channels, whose bit depth is the camera's.
        grid: places of the frames.
        shifts: faults.
    """

    def __init__(self, scene: FieldScene, panel: Panel, grid: FieldGrid, shifts: Sequence[ChannelShift] = ()) -> None:
        self._scene, self._panel, self._grid, self._shifts = scene, panel, grid, shifts
        self._tiles = TileDots(scene, grid)
        draws = Draws.from_seed(stream_seed(scene.seed, PATIENT_STREAM, 1), torch.device("cpu"))
        texture_px = math.ceil(PATCH_LADDER_UM[-1] / grid.pixel_size_um) + 2
        self._textures = shapes.texture_bank(draws, TEXTURES, texture_px, grid.pixel_size_um)
        self._light = _illumination(len(panel.channels), grid, draws)
        self._margin_px = math.ceil(MARGIN_UM / grid.pixel_size_um)
        reach = scene.bodies.radius * scene.bodies.aspect.sqrt() * (1 + scene.bodies.ruffle.sum(1))
        self._reach_um = reach[:, None] + self._margin_px * grid.pixel_size_um

    def frame(self, place: FramePlace) -> np.ndarray:
        """Counts (C, H, W) uint16, 0 to the panel's full scale."""
        draws = Draws.from_seed(
            stream_seed(self._scene.seed, FRAME_STREAM, place.row, place.column), torch.device("cpu")
        )
        group = self._scene.group
        drift = draws.spread((len(self._panel.channels), 1, 1), FRAME_DRIFT_SD)
        electrons = self.signal(place) + group.background_e[0, :, None, None] * drift
        if self._scene.rim_um > 0:
            electrons += self._rim(place)
        electrons = electrons.mul_(self._light)[None]
        counts = camera.expose(
            electrons,
            group.read_noise_e,
            group.electrons_per_count,
            group.offset_counts,
            self._panel.full_scale,
            draws,
        )
        return counts[0].numpy()

    def signal(self, place: FramePlace) -> Tensor:
        """Noise-free electrons (C, H, W) of the objects of a frame, after optics and bleed-through."""
        origin_um = torch.tensor([place.x_px, place.y_px]) * self._grid.pixel_size_um
        signal = self._optical(place, origin_um)
        for shift in self._shifts:
            if not shift.frames or place.number in shift.frames:
                channel = self._panel.markers.index(shift.marker)
                moved_um = origin_um - torch.tensor([shift.x_px, shift.y_px]) * self._grid.pixel_size_um
                signal[channel] = self._optical(place, moved_um)[channel]
        return camera.bleed_through(signal[None], self._scene.group.bleed)[0]

    def _optical(self, place: FramePlace, origin_um: Tensor) -> Tensor:
        """Electrons (C, H, W) after optics, of the window whose upper left pixel's centre is `origin_um`."""
        scene, grid = self._scene, self._grid
        size_um = torch.tensor([grid.frame_width_px, grid.frame_height_px]) * grid.pixel_size_um
        away_um = (scene.bodies.centre - origin_um - size_um / 2).abs()
        near = torch.nonzero((away_um < size_um / 2 + self._reach_um).all(dim=1))[:, 0]
        layer = scene.events.layer[scene.bodies.crop[near]]
        canvases = []
        for index in range(len(LAYER_DEFOCUS_UM)):
            rows = near[layer == index]
            if index and not len(rows):
                continue
            canvas = FieldCanvas(
                len(self._panel.channels),
                grid.frame_height_px,
                grid.frame_width_px,
                self._margin_px,
                grid.pixel_size_um,
            )
            canvas.add_bodies(_moved(scene.bodies.rows(rows), origin_um), scene.texture[:, rows], self._textures)
            if index == 0:
                self._add_dots(canvas, place, origin_um, size_um)
            canvases.append(canvas.blurred(self._sigma_px(LAYER_DEFOCUS_UM[index])))
        return reduce(Tensor.add_, canvases)

    def _add_dots(self, canvas: FieldCanvas, place: FramePlace, origin_um: Tensor, size_um: Tensor) -> None:
        tiles = [(place.row + down, place.column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        specks = Dots.concatenate([self._tiles.specks(row, column) for row, column in tiles])
        platelets = Dots.concatenate([self._scene.dots, *(self._tiles.platelets(row, column) for row, column in tiles)])
        for table, largest_sigma_um in ((specks, SPECK_SIGMA_UM), (platelets, LARGEST_SIGMA_UM)):
            reach_um = self._margin_px * self._grid.pixel_size_um
            away_um = (table.centre - origin_um - size_um / 2).abs()
            shown = table.rows((away_um < size_um / 2 + reach_um).all(dim=1))
            canvas.add_dots(_moved(shown, origin_um), largest_sigma_um)

    def _sigma_px(self, defocus_um: float) -> Tensor:
        """Optical blur (C,) in px of a focus layer."""
        group = self._scene.group
        emission_nm = torch.tensor([c.emission_nm or DEFAULT_EMISSION_NM for c in self._panel.channels])
        in_focus = optics.psf_sigma_um(emission_nm, NUMERICAL_APERTURE, group.optics_factor)
        away = optics.defocus_sigma_um(defocus_um + group.channel_focus_um[0], NUMERICAL_APERTURE)
        return (in_focus.square() + away.square()).sqrt() / self._grid.pixel_size_um

    def _rim(self, place: FramePlace) -> Tensor:
        """Light (H, W) of the cartridge's wall: a bright line a third of the rim inwards, and a glow outside it."""
        grid, rim_um = self._grid, self._scene.rim_um
        x = torch.arange(grid.frame_width_px) + place.x_px
        y = torch.arange(grid.frame_height_px) + place.y_px
        from_x = torch.minimum(x, grid.width_px - 1 - x) * grid.pixel_size_um
        from_y = torch.minimum(y, grid.height_px - 1 - y) * grid.pixel_size_um
        inwards = torch.minimum(from_x[None, :], from_y[:, None]) / rim_um
        line = torch.exp(-((inwards - 1 / 3) / 0.06).square() / 2)
        return RIM_ELECTRONS * (line + 0.25 * torch.sigmoid((1 / 3 - inwards) / 0.04))


def _moved(objects: Objects, origin_um: Tensor) -> Objects:
    """The same objects with their centres from `origin_um`."""
    return replace(objects, centre=objects.centre - origin_um)


def _illumination(channels: int, grid: FieldGrid, draws: Draws) -> Tensor:
    """Relative light (C, H, W), 1 in the middle: a dome off the middle and a slight tilt, the same in all frames."""
    x = torch.linspace(-1, 1, grid.frame_width_px)
    y = torch.linspace(-1, 1, grid.frame_height_px)
    loss = draws.uniform((channels, 1, 1), *VIGNETTING)
    middle, tilt = draws.normal((channels, 2), 0.15), draws.normal((channels, 2), TILT_SD)
    dx = (x - middle[:, :1])[:, None, :]
    dy = (y - middle[:, 1:])[:, :, None]
    slope = 1 + tilt[:, 0, None, None] * x[None, None, :] + tilt[:, 1, None, None] * y[None, :, None]
    return (1 - loss * (dx.square() + dy.square()) / 2) * slope
