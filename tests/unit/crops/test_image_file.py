"""Reading of one image, whatever its file format, axes and channel names."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ctcnet.crops.image_file import read_image
from ctcnet.crops.tiff_image import decode_tiff
from ctcnet.errors import CtcnetError, ImageError, PanelError
from ctcnet.panel import Channel, Panel

pytestmark = pytest.mark.unit

_OME_NAMES = {"axes": "CYX", "Channel": {"Name": ["cd45", "DAPI", "CK"]}, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("axes", ["CYX", "YXC", "ZCYX", "CZYX"])
def test_tiff_axes_come_from_metadata(
    tmp_path: Path, panel3: Panel, image3: np.ndarray, axes: str, dtype: type
) -> None:
    image = (image3 // 16).astype(dtype)
    arrangement = {"CYX": image, "YXC": np.moveaxis(image, 0, 2), "ZCYX": image[None], "CZYX": image[:, None]}
    tifffile.imwrite(tmp_path / "a.tif", arrangement[axes], metadata={"axes": axes}, photometric="minisblack")
    read = read_image(tmp_path / "a.tif", panel3)
    assert read.pixels.dtype == dtype
    assert read.pixel_size_um is None
    np.testing.assert_array_equal(read.pixels, image)


def test_channel_axis_is_never_guessed_from_its_length(tmp_path: Path, panel3: Panel) -> None:
    square = np.arange(27, dtype=np.uint16).reshape(3, 3, 3)
    tifffile.imwrite(tmp_path / "a.tif", square, metadata={"axes": "YXC"}, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", panel3).pixels, np.moveaxis(square, 2, 0))


@pytest.mark.parametrize("metadata", [None, {}])
def test_pages_are_channels(tmp_path: Path, panel3: Panel, image3: np.ndarray, metadata: dict | None) -> None:
    tifffile.imwrite(tmp_path / "one.tif", image3, metadata=metadata, photometric="minisblack")
    with tifffile.TiffWriter(tmp_path / "many.tif") as tif:
        for page in image3:
            tif.write(page, metadata=metadata)
    for name in ("one.tif", "many.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name, panel3).pixels, image3)


def test_big_endian_and_compressed(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    for name, options in (("b", {"byteorder": ">"}), ("lzw", {"compression": "lzw"}), ("j", {"imagej": True})):
        tifffile.imwrite(tmp_path / f"{name}.tif", image3, metadata={"axes": "CYX"}, **options)
        read = read_image(tmp_path / f"{name}.tif", panel3).pixels
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read, image3)


def test_ome_names_give_order_and_pixel_size(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", image3, ome=True, metadata=_OME_NAMES)
    read = read_image(tmp_path / "a.ome.tif", panel3)
    np.testing.assert_array_equal(read.pixels, image3[[1, 2, 0]])
    assert read.pixel_size_um == pytest.approx(0.25)


@pytest.mark.parametrize(("unit", "factor"), [("nm", 1e-3), ("mm", 1e3), ("µm", 1)])
def test_ome_units(tmp_path: Path, panel3: Panel, image3: np.ndarray, unit: str, factor: float) -> None:
    size = {"PhysicalSizeX": 0.5 / factor, "PhysicalSizeXUnit": unit, "PhysicalSizeY": 0.5 / factor}
    tifffile.imwrite(
        tmp_path / "a.ome.tif", image3, ome=True, metadata={"axes": "CYX", **size, "PhysicalSizeYUnit": unit}
    )
    assert read_image(tmp_path / "a.ome.tif", panel3).pixel_size_um == pytest.approx(0.5)


def test_ome_pixels_that_are_not_square_are_refused(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.6}
    tifffile.imwrite(tmp_path / "a.ome.tif", image3, ome=True, metadata=metadata)
    with pytest.raises(ImageError, match=r"not square[\s\S]*0.5 x 0.6"):
        read_image(tmp_path / "a.ome.tif", panel3)


def test_resolution_tags_are_no_pixel_size(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", image3, metadata={"axes": "CYX"}, resolution=(10000, 10000), resolutionunit="CENTIMETER"
    )
    assert read_image(tmp_path / "a.tif", panel3).pixel_size_um is None


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["DAPI", "CK", "CD61"], "missing: CD45; not in the panel: CD61"),
        (["DAPI", "CK", "ck"], "named twice: CK, ck"),
    ],
)
def test_wrong_channel_names(tmp_path: Path, panel3: Panel, image3: np.ndarray, names: list, problem: str) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", image3, ome=True, metadata={"axes": "CYX", "Channel": {"Name": names}})
    with pytest.raises(PanelError, match=problem) as caught:
        read_image(tmp_path / "a.ome.tif", panel3)
    assert caught.value.expected == "DAPI, CK, CD45"
    assert caught.value.found == ", ".join(names)


@pytest.mark.parametrize(("samples", "read"), [(b"3", True), (b"1", False)])
def test_one_name_for_all_samples_of_a_pixel_names_no_channel(
    tmp_path: Path, panel3: Panel, image3: np.ndarray, samples: bytes, read: bool
) -> None:
    path, metadata = tmp_path / "a.ome.tif", {"axes": "YXC", "Channel": {"Name": ["CK"]}}
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig", "metadata": metadata}
    tifffile.imwrite(path, np.moveaxis(image3, 0, 2), ome=True, **options)
    before = path.read_bytes()
    assert before.count(b'SamplesPerPixel="3" Name="CK"') == 1
    path.write_bytes(before.replace(b'SamplesPerPixel="3"', b'SamplesPerPixel="%s"' % samples))
    if read:
        np.testing.assert_array_equal(read_image(path, panel3).pixels, image3)
    else:
        with pytest.raises(PanelError, match="missing: DAPI, CD45") as caught:
            read_image(path, panel3)
        assert caught.value.found == "CK"


@pytest.mark.parametrize(("channels", "word"), [(2, "too few"), (4, "too many")])
def test_wrong_channel_count(tmp_path: Path, panel3: Panel, channels: int, word: str) -> None:
    image = np.zeros((channels, 8, 8), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, metadata={"axes": "CYX"})
    np.save(tmp_path / "a.npy", image)
    for name in ("a.tif", "a.npy"):
        with pytest.raises(PanelError, match=word) as caught:
            read_image(tmp_path / name, panel3)
        assert caught.value.found == str(channels)


def test_stack_of_depth_is_refused(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "z.tif", image3, imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(ImageError, match="Z = 3"):
        read_image(tmp_path / "z.tif", panel3)


def test_npy_is_channels_first(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", image3.astype(">u2"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy", panel3).pixels, image3)


def test_pickled_npy_is_refused(tmp_path: Path, panel3: Panel) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match=r"cannot be read as \.npy"):
        read_image(tmp_path / "a.npy", panel3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_rgb_planes_go_to_markers(tmp_path: Path, rgb_panel: Panel, mode: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype(np.uint8)
    picture = np.dstack([rgb, np.full((6, 7), 255, np.uint8)]) if mode == "RGBA" else rgb
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "named.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb")
    for name in ("a.png", "named.jpg", "a.tif"):
        np.testing.assert_array_equal(
            read_image(tmp_path / name, rgb_panel).pixels, np.stack([rgb[..., 2], rgb[..., 0]])
        )


def test_rgb_needs_a_panel_with_planes(tmp_path: Path, panel3: Panel) -> None:
    Image.fromarray(np.zeros((6, 7, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(PanelError, match="plane"):
        read_image(tmp_path / "a.png", panel3)


def test_transparency_palette_and_deep_colour_are_refused(tmp_path: Path, rgb_panel: Panel) -> None:
    Image.fromarray(np.zeros((6, 7, 4), np.uint8)).save(tmp_path / "clear.png")
    Image.fromarray(np.zeros((6, 7), np.uint8)).convert("P").save(tmp_path / "palette.png")
    header = (tmp_path / "clear.png").read_bytes()
    (tmp_path / "deep.png").write_bytes(header[:24] + b"\x10\x02" + header[26:])
    for name, problem in (("clear", "transparent"), ("palette", "mode P"), ("deep", "16 bits")):
        with pytest.raises(ImageError, match=problem):
            read_image(tmp_path / f"{name}.png", rgb_panel)


def test_one_file_per_channel(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    for marker, plane in zip(panel3.markers, image3, strict=True):
        Image.fromarray(plane).save(tmp_path / f"cell_{marker}.png")
        tifffile.imwrite(tmp_path / f"cell_{marker}.tif", plane)
    for ending in ("png", "tif"):
        np.testing.assert_array_equal(read_image(tmp_path / f"cell_{{channel}}.{ending}", panel3).pixels, image3)
    tifffile.imwrite(tmp_path / "cell_CK.tif", image3[1, :5])
    with pytest.raises(ImageError, match="differ in size"):
        read_image(tmp_path / "cell_{channel}.tif", panel3)
    (tmp_path / "cell_CK.tif").unlink()
    with pytest.raises(ImageError, match=r"cell_CK\.tif: there is no such file"):
        read_image(tmp_path / "cell_{channel}.tif", panel3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_counts(tmp_path: Path, panel3: Panel, image3: np.ndarray, value: float) -> None:
    image = image3.astype(np.float32)
    image[1, 2, 3] = value
    tifffile.imwrite(tmp_path / "a.tif", image, metadata={"axes": "CYX"})
    with pytest.raises(ImageError, match=r"NaN or infinite[\s\S]*in CK"):
        read_image(tmp_path / "a.tif", panel3)
    assert read_image(tmp_path / "a.tif", panel3, check=False).pixels.shape == (3, 10, 12)


def test_values_above_the_bit_depth(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    image3[2, 0, 0] = 4096
    np.save(tmp_path / "a.npy", image3)
    with pytest.raises(ImageError, match=r"bit depth[\s\S]*4096"):
        read_image(tmp_path / "a.npy", panel3)


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.uint32, np.bool_])
def test_other_dtypes_are_refused(tmp_path: Path, panel3: Panel, dtype: type) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 4), dtype))
    with pytest.raises(ImageError, match="uint8, uint16 or float32"):
        read_image(tmp_path / "a.npy", panel3)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.npy"])
@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_empty_and_foreign_files(tmp_path: Path, panel3: Panel, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match="zero bytes" if not content else "cannot be read") as caught:
        read_image(tmp_path / name, panel3)
    assert caught.value.where == str(tmp_path / name)


def test_absent_file_unknown_kind_folder_pipe_and_loop(tmp_path: Path, panel3: Panel) -> None:
    (tmp_path / "a.tif").mkdir()
    os.mkfifo(tmp_path / "pipe.tif")  # opened, it would be waited for without end
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    problems = {
        "b.tif": "no such file",
        "a.gif": "known kind",
        "a.tif": "no file",
        "pipe.tif": "no file",
        "loop.tif": "symbolic links",
    }
    for name, problem in problems.items():
        with pytest.raises(ImageError, match=problem):
            read_image(tmp_path / name, panel3)


def test_files_that_claim_more_than_memory(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", image3)
    content = (tmp_path / "a.npy").read_bytes()
    shape = str(image3.shape).encode()
    claimed = b"(3, 99999999, 99999999)"
    header = content.replace(shape, claimed).replace(b" " * (len(claimed) - len(shape)) + b"\n", b"\n", 1)
    (tmp_path / "a.npy").write_bytes(header)
    tifffile.imwrite(tmp_path / "a.tif", image3[0], compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tif:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tif.pages.first.tags[tag].overwrite(60_000_000, dtype="I")
    for name, problem in (("a.npy", "allocate"), ("a.tif", "larger than memory")):
        with pytest.raises(ImageError, match=problem):
            read_image(tmp_path / name, panel3)


def test_ome_xml_that_is_cut_off_is_not_passed_over(tmp_path: Path, panel3: Panel, image3: np.ndarray) -> None:
    names = ["cd45", "DAPI", "CK"]  # without them, planes would be taken in the panel's order
    tifffile.imwrite(tmp_path / "a.ome.tif", image3, ome=True, metadata={"axes": "CYX", "Channel": {"Name": names}})
    with tifffile.TiffFile(tmp_path / "a.ome.tif", mode="r+b") as tif:
        tif.pages.first.tags["ImageDescription"].overwrite(tif.pages.first.description[:-30])
    with pytest.raises(ImageError, match="malformed OME-XML"):
        read_image(tmp_path / "a.ome.tif", panel3)


@given(share=st.floats(0, 0.999), kind=st.sampled_from(["plain", "deflate", "ome"]))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_truncated_tiff_never_passes(tmp_path: Path, share: float, kind: str) -> None:
    panel = Panel("two", (Channel("A", "nucleus"), Channel("B", "target")), 16)
    image = np.random.default_rng(0).integers(0, 65535, (2, 16, 16)).astype(np.uint16)
    options = {"compression": "zlib"} if kind == "deflate" else {"ome": True} if kind == "ome" else {}
    tifffile.imwrite(tmp_path / "whole.tif", image, metadata={"axes": "CYX"}, photometric="minisblack", **options)
    content = (tmp_path / "whole.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[: int(len(content) * share)])
    try:
        read = read_image(tmp_path / "cut.tif", panel).pixels
    except CtcnetError:
        return
    np.testing.assert_array_equal(read, image)  # only what follows the last pixel was cut off


def test_every_cut_through_compressed_strips_is_noticed() -> None:
    """Decoders of LZW can stop short without complaint: what the pages point to has to be inside the file."""
    image = np.random.default_rng(0).integers(1, 65535, (2, 16, 16)).astype(np.uint16)
    file = BytesIO()
    tifffile.imwrite(file, image, rowsperstrip=4, compression="lzw", metadata={"axes": "CYX"}, photometric="minisblack")
    content = file.getvalue()
    for size in range(len(content) // 3, len(content)):
        with pytest.raises(CtcnetError):
            decode_tiff(content[:size], Path("cut.tif"))
    np.testing.assert_array_equal(decode_tiff(content, Path("whole.tif")).pixels, image)


@pytest.mark.parametrize("options", [{"ome": True}, {"imagej": True}, {"ome": True, "bigtiff": True}])
def test_a_file_cut_before_its_second_page_is_not_taken_for_one_of_fewer_channels(options: dict[str, Any]) -> None:
    image = np.random.default_rng(0).integers(1, 65535, (5, 64, 64)).astype(np.uint16)
    file = BytesIO()
    tifffile.imwrite(file, image, metadata={"axes": "CYX"}, **options)
    content = file.getvalue()
    for share in (0.3, 0.5, 0.9):
        with pytest.raises(ImageError, match="truncated"):
            decode_tiff(content[: int(len(content) * share)], Path("cut.tif"))
    np.testing.assert_array_equal(decode_tiff(content, Path("whole.tif")).pixels, image)


def test_pages_that_lead_round_in_a_circle_end() -> None:
    file = BytesIO()
    tifffile.imwrite(file, np.ones((16, 16), np.uint16), metadata=None)
    with tifffile.TiffFile(BytesIO(file.getvalue())) as tif:
        assert len(tif.pages) == 1
        place, first = tif.pages.next_page_offset, tif.pages.first.offset
    content = bytearray(file.getvalue())
    content[place : place + 4] = first.to_bytes(4, "little")
    with pytest.raises(ImageError, match="round in a circle"):
        decode_tiff(bytes(content), Path("circle.tif"))
