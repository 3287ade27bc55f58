"""Writing packed stores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ctcnet import __version__
from ctcnet.crops.file_source import mixed_dtypes
from ctcnet.crops.labelled_crops import LabelledCrops, training_data_hash
from ctcnet.crops.source_kind import INDEX_FILE, PIXELS_FILE, STORE_FILE
from ctcnet.crops.store import StoreHeader, header_to_dict
from ctcnet.errors import ImageError, ManifestError, SettingError
from ctcnet.output import check_output, new_output_dir
from ctcnet.progress import track
from ctcnet.resampling import MOST_CROP_SIZE_PX

CHUNK = 128
"""Crops read and written at a time, so that memory stays bounded whatever the size of the store."""


def common_pixel_size_um(crops: LabelledCrops) -> float:
    """The pixel size that all crops share.

    Raises:
        ImageError: a crop has none.
        ManifestError: they differ by more than one part in a million.
    """
    sizes_um = crops.pixel_sizes()
    unknown = np.flatnonzero(np.isnan(sizes_um))
    if len(unknown):
        raise ImageError(
            f"{len(unknown)} of {len(crops)} crops have no pixel size",
            where=str(crops.path[unknown[0]]),
            fix="add the manifest's column pixel_size_um, or state it with --pixel-size-um",
        )
    if sizes_um.max() / sizes_um.min() > 1 + 1e-6:
        raise ManifestError(
            "the crops have different pixel sizes, so a store needs to be told its own",
            found=f"{sizes_um.min():g} to {sizes_um.max():g} um",
            fix="state it with --model-pixel-size-um",
        )
    return float(sizes_um[0])


def check_crop_scale(pixel_size_um: float | None, crop_size_px: int) -> None:
    """Raise SettingError where crops cannot be of a scale (um per pixel, None where not fixed) or of a side in px."""
    if not 4 <= crop_size_px <= MOST_CROP_SIZE_PX:
        raise SettingError(
            "the crop size is impossible", expected=f"4 to {MOST_CROP_SIZE_PX} px", found=f"{crop_size_px} px"
        )
    if pixel_size_um is not None and not 1e-3 <= pixel_size_um < 100:
        raise SettingError(
            "the pixel size of the model's crops is impossible",
            expected="micrometres per pixel, 0.001 or more, below 100",
            found=f"{pixel_size_um:g}",
        )


def pack_crops(
    crops: LabelledCrops, out: str | Path, *, pixel_size_um: float | None, crop_size_px: int, overwrite: bool = False
) -> Path:
    """Write a packed store: `crops.npy` (N, C, S, S), `index.parquet` and `store.json` in one folder.

    Args:
        crops: what to pack, in its order.
        out: folder of the store; it appears whole or not at all.
        pixel_size_um: micrometres per pixel of the store; None takes the size that all crops share.
        crop_size_px: side of the store's crops; what is beyond a crop is filled as in `resample_crop`.
        overwrite: whether a store that stands at `out` is replaced.

    Returns:
        `out`.

    Raises:
        OutputError: `out` exists, or cannot be written.
        ImageError, PanelError: a crop cannot be read; nothing is left.
        ManifestError: the crops' pixel sizes differ and none is given, or integer and float images are mixed.
        SettingError: a size is not positive.
    """
    check_output(out, overwrite=overwrite, made_with=STORE_FILE)
    check_crop_scale(pixel_size_um, crop_size_px)
    size_um = common_pixel_size_um(crops) if pixel_size_um is None else float(pixel_size_um)
    with new_output_dir(out, overwrite=overwrite, made_with=STORE_FILE) as folder:
        dtype, pixels_sha256 = _write_pixels(crops, folder / PIXELS_FILE, size_um, crop_size_px)
        digests = crops.source.digests(crops.source_rows)
        pq.write_table(_index(crops, digests), folder / INDEX_FILE, compression="zstd")
        header = StoreHeader(
            count=len(crops),
            dtype=dtype,
            panel=crops.panel,
            schema=crops.schema,
            pixel_size_um=size_um,
            crop_size_px=crop_size_px,
            simulated=crops.simulated,
            sha256=training_data_hash(crops, digests),
            pixels_sha256=pixels_sha256,
        )
        text = json.dumps(header_to_dict(header, __version__), indent=2)
        (folder / STORE_FILE).write_text(text + "\n", encoding="utf-8")
    return Path(out)


def _write_pixels(crops: LabelledCrops, path: Path, pixel_size_um: float, crop_size_px: int) -> tuple[str, str]:
    """Write the crops in chunks; dtype and hash of what was written."""
    total = sha256()
    dtype = crops.read([0], pixel_size_um, crop_size_px).dtype
    shape = (len(crops), len(crops.panel.channels), crop_size_px, crop_size_px)
    with path.open("wb") as file:  # not through a memory map: on a full disk that ends the process
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in track(range(0, len(crops), CHUNK), f"packing {len(crops)} crops, {CHUNK} at a time"):
            rows = np.arange(start, min(start + CHUNK, len(crops)))
            chunk = crops.read(rows, pixel_size_um, crop_size_px)
            if chunk.dtype != dtype:
                kinds = (crops.read([int(row)], pixel_size_um, crop_size_px).dtype for row in rows)
                other = next(row for row, kind in zip(rows, kinds, strict=True) if kind != dtype)
                raise mixed_dtypes(str(crops.path[other]), dtype, chunk.dtype)
            content = np.ascontiguousarray(chunk).tobytes()
            file.write(content)
            total.update(content)
    return str(dtype), total.hexdigest()


def _index(crops: LabelledCrops, digests: Sequence[bytes]) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name in ("path", "group", "cartridge", "batch", "split"):
        columns[name] = pa.array(getattr(crops, name).tolist(), pa.string())
    if crops.targets is not None and crops.schema is not None:
        columns["label"] = pa.array([crops.schema.classes[number] for number in crops.labels])
        columns["targets"] = _fixed_lists(crops.targets)
    columns["weight"] = pa.array(crops.weight, pa.float32())
    columns["background"], columns["scale"] = _fixed_lists(crops.background), _fixed_lists(crops.scale)
    columns["file_sha256"] = pa.array(list(digests), pa.binary(32))
    return pa.table(columns)


def _fixed_lists(values: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
