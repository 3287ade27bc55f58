"""`check_crops`: every kind of problem found, all at once, with the right severity."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from rich.console import Console

from ctcnet.crops import pack_crops, read_crops
from ctcnet.crops.check_table import SHOWN_PER_KIND, print_report, report_to_dict
from ctcnet.crops.checks import SPLIT_SEED, TEST_FRACTION, VAL_FRACTION, CheckReport, check_crops
from ctcnet.errors import ImageError, ManifestError, SettingError
from ctcnet.labels import LabelSchema
from ctcnet.panel import Panel
from ctcnet.resampling import DEFAULT_CROP_SIZE_PX
from ctcnet.resources import resource_dir

pytestmark = pytest.mark.unit

Make = Callable[..., Path]


def found(report: CheckReport) -> dict[str, set[str]]:
    """severity -> codes."""
    codes: dict[str, set[str]] = {"error": set(), "warning": set()}
    for finding in report.findings:
        codes[finding.severity].add(finding.code)
    return codes


def check(manifest: Path, panel: Panel, schema: LabelSchema | None = None, labelled: bool = True) -> CheckReport:
    return check_crops(manifest, panel, schema, assumed_pixel_size_um=0.5, labelled=labelled)


def test_good_crops_have_no_findings(make_crops: Make, panel3: Panel) -> None:
    report = check(make_crops(6), panel3)
    assert report == (6, [])


def write(path: Path, image: np.ndarray) -> None:
    tifffile.imwrite(path, image, metadata={"axes": "CYX"}, photometric="minisblack")


def random(seed: int, dtype: type = np.uint16, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, (channels, 10, 12)).astype(dtype)


def test_everything_at_once(make_crops: Make, panel3: Panel, tmp_path: Path) -> None:
    manifest = make_crops(4)
    constant, saturated, nan, deep = random(1), random(2), random(3, np.float32), random(4)
    constant[1], saturated[2, :2], nan[0, 0, 0], deep[0, 0, 0] = 9, 4095, np.nan, 5000
    images = {"constant": constant, "saturated": saturated, "nan": nan, "deep": deep, "two": random(5, channels=2)}
    images |= {"other_group": random(6), "again": random(6), "same_group": random(7), "same": random(7)}
    images |= {"label": random(8), "other_label": random(8), "lonely": random(9)}
    for name, image in images.items():
        write(tmp_path / f"{name}.tif", image)
    (tmp_path / "zero.tif").touch()
    (tmp_path / "cut.tif").write_bytes((tmp_path / "0.tif").read_bytes()[:400])
    groups = {"other_group": "g9", "lonely": "g7"}
    labels = {"other_label": "b", "lonely": "rare"}
    names = [*images, "zero", "cut", "gone"]
    lines = [f"{name}.tif,{labels.get(name, 'a')},{groups.get(name, 'g0')}," for name in names]
    text = manifest.read_text().replace("group\n", "group,lable\n").replace("g0\n", "g0,\n").replace("g1\n", "g1,\n")
    manifest.write_text(text.replace("g2\n", "g2,\n") + "\n".join(lines) + "\n")
    report = check(manifest, panel3, LabelSchema("s", ("a", "b", "rare", "never")))
    assert report.crops == 4 + len(names)
    assert found(report) == {
        "error": {
            *("unknown_column", "nan_pixels", "above_bit_depth", "wrong_channels", "unreadable_image"),
            *("same_cell_in_two_groups", "labels_differ", "class_with_one_group", "class_without_crops"),
        },
        "warning": {"constant_channel", "saturated_channel", "duplicate_image", "mixed_dtypes"},
    }
    where = {f.code: str(f.error.where) for f in report.findings if f.code != "unreadable_image"}
    for code, name in (("nan_pixels", "nan"), ("wrong_channels", "two"), ("saturated_channel", "saturated")):
        assert where[code].endswith(f"{name}.tif")
    unreadable = [Path(str(f.error.where)).name for f in report.findings if f.code == "unreadable_image"]
    assert unreadable == ["zero.tif", "cut.tif", "gone.tif"]
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, key=lambda severity: severity != "error")


def test_missing_pixel_size_counts_each_crop(make_crops: Make, panel3: Panel) -> None:
    report = check_crops(make_crops(4), panel3)
    assert [finding.code for finding in report.findings] == ["missing_pixel_size"] * 4
    assert report.count("error") == 4


def test_pixel_size_against_ome(make_crops: Make, panel3: Panel, tmp_path: Path) -> None:
    manifest = make_crops(4, columns=",pixel_size_um", values=",0.5")
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(tmp_path / "2.tif", random(77), ome=True, metadata=metadata)
    report = check_crops(manifest, panel3)
    assert [(f.code, Path(str(f.error.where)).name) for f in report.findings] == [("pixel_size_differs", "2.tif")]


def test_channel_that_is_constant_everywhere_is_an_error(make_crops: Make, panel3: Panel, tmp_path: Path) -> None:
    manifest = make_crops(4)
    for number in range(4):
        image = random(number)
        image[2] = number
        write(tmp_path / f"{number}.tif", image)
    report = check(manifest, panel3)
    assert [f.code for f in report.findings] == ["constant_channel"] * 5
    assert report.count("error") == 1
    assert "'CD45' is constant in every crop" in str(report.findings[0].error)


@pytest.mark.parametrize(
    ("rows", "severity", "code"),
    [
        (("a,g0,train", "b,g1,train", "a,g0,train", "b,g2,test"), "error", "missing_split"),
        (("a,g0,train", "a,g1,train", "b,g2,val", "b,g3,val"), "error", "class_absent_from_split"),
        (("a,g0,train", "b,g1,train", "a,g2,val", "b,g3,train"), "warning", "class_absent_from_split"),
        (("a,g0,train", "b,g1,train", "a,g0,val", "b,g3,val"), "error", "group_in_two_splits"),
        (("a,g0,", "b,g0,", "a,g0,", "b,g0,"), "error", "one_group"),
    ],
)
def test_splits_and_groups(
    make_crops: Make, panel3: Panel, write_manifest: Make, rows: tuple[str, ...], severity: str, code: str
) -> None:
    make_crops(4)
    lines = [f"{number}.tif,{row}" for number, row in enumerate(rows)]
    report = check(write_manifest("path,label,group,split", *lines), panel3)
    assert code in found(report)[severity]


def test_levels_that_differ_or_lack(make_crops: Make, panel3: Panel) -> None:
    columns = ",cartridge," + ",".join(f"{k}_{m}" for k in ("background", "scale") for m in panel3.markers)
    manifest = make_crops(4, columns=columns, values=",c,1,1,1,9,9,9")
    assert check(manifest, panel3).findings == []
    manifest.write_text(manifest.read_text().replace("c,1,1", "c,2,1", 1))
    assert found(check(manifest, panel3)) == {"error": set(), "warning": {"cartridge_levels_differ"}}
    manifest.write_text(manifest.read_text().replace("c,2,1,1,9,9,9", "d,,,,,,", 1))
    assert found(check(manifest, panel3)) == {"error": set(), "warning": {"incomplete_levels"}}


def test_float_images_within_one_are_doubted(make_crops: Make, panel3: Panel, tmp_path: Path) -> None:
    manifest = make_crops(4)
    for number in range(4):
        write(tmp_path / f"{number}.tif", random(number, np.float32) / 4096)
    assert found(check(manifest, panel3)) == {"error": set(), "warning": {"not_counts"}}


@pytest.mark.parametrize(("dtype", "bit_depth", "codes"), [("uint8", 12, {"eight_bit_images"}), ("uint8", 8, set())])
def test_images_of_fewer_bits_than_the_panel_are_doubted(
    make_crops: Make, panel3: Panel, tmp_path: Path, dtype: str, bit_depth: int, codes: set[str]
) -> None:
    manifest = make_crops(4)
    for number in range(4):
        write(tmp_path / f"{number}.tif", (random(number) // 16).astype(dtype))
    panel = replace(panel3, bit_depth=bit_depth)
    assert found(check(manifest, panel)) == {"error": set(), "warning": codes}
    write(tmp_path / "3.tif", random(3) // 16)  # one of 16 bits
    assert found(check(manifest, panel)) == {"error": set(), "warning": set()}


def test_frames_are_errors_as_in_packing(make_crops: Make, panel3: Panel, tmp_path: Path) -> None:
    """A model that sees 8 px of 0.5 um takes a shorter side of 16 um at most: 10 px of 0.5 um, but not 33."""
    manifest = make_crops(6)
    write(tmp_path / "2.tif", np.random.default_rng(1).integers(0, 4000, (3, 40, 33)).astype(np.uint16))

    def seen(panel: Panel, crop_size_px: int, pixel_size_um: float | None = None) -> CheckReport:
        size_um = {"assumed_pixel_size_um": 0.5, "pixel_size_um": pixel_size_um}
        return check_crops(manifest, panel, crop_size_px=crop_size_px, **size_um)

    (finding,) = seen(panel3, 8).findings
    assert (finding.code, finding.severity) == ("frame", "error")
    crops = read_crops(manifest, panel3, assumed_pixel_size_um=0.5)
    with pytest.raises(ImageError) as raised:
        pack_crops(crops, tmp_path / "store", pixel_size_um=None, crop_size_px=8)
    assert str(finding.error) == f"{raised.value}, or say what the model sees: --model-pixel-size-um, --crop-size-px"
    assert seen(panel3, 9).findings == []
    assert seen(panel3, 8, 0.6).findings == []
    assert seen(replace(panel3, pixel_size_um=0.6), 8).findings == []  # as training, which takes the panel's
    assert found(seen(replace(panel3, pixel_size_um=0.6), 8, 0.5))["error"] == {"frame"}
    with pytest.raises(SettingError, match="impossible"):
        seen(panel3, 0)


def test_groups_are_divided_as_the_shipped_configuration_asks() -> None:
    data = yaml.safe_load((resource_dir("configs") / "five_class.yaml").read_text())["data"]
    assert data["split"] == {"val_fraction": VAL_FRACTION, "test_fraction": TEST_FRACTION, "seed": SPLIT_SEED}
    assert data["crop_size_px"] == DEFAULT_CROP_SIZE_PX


@pytest.mark.parametrize(
    ("groups", "severity", "problem"),
    [
        ("001100", "warning", "2 group(s) cannot be divided into train, val, test, as configs/five_class.yaml asks"),
        ("012030", None, None),
        ("000011", "error", "2 group(s) cannot be divided into train, val, test, as configs/five_class.yaml asks"),
    ],
)
def test_groups_that_cannot_be_divided_are_said(
    make_crops: Make, panel3: Panel, write_manifest: Make, groups: str, severity: str | None, problem: str | None
) -> None:
    make_crops(6)
    rows = [f"{number}.tif,{'aabbbc'[number]},g{group}" for number, group in enumerate(groups)]
    schema = LabelSchema("s", ("a", "b", "c"))
    report = check(write_manifest("path,label,group", *rows), panel3, schema)
    what = [f.error.what for f in report.findings if f.code == "indivisible_groups"]
    assert bool(what) == (problem is not None)
    assert [f.severity for f in report.findings if f.code == "indivisible_groups"] == [severity][: len(what)]
    assert (problem or "") in "".join(what)
    given = ["train" if group == "0" else "val" for group in groups]
    rows = [f"{row},{part}" for row, part in zip(rows, given, strict=True)]
    report = check(write_manifest("path,label,group,split", *rows), panel3, schema)
    assert "indivisible_groups" not in {f.code for f in report.findings}


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of a division by no crops
def test_labels_none_of_which_is_a_class(make_crops: Make, panel3: Panel) -> None:
    report = check(make_crops(6), panel3, LabelSchema("s", ("c", "d")))
    assert found(report) == {"error": {"label_outside_schema", "class_without_crops"}, "warning": set()}


@pytest.mark.parametrize(
    ("weights", "splits", "classes"),
    [
        ("101010", "", ["b"]),
        ("111010", "", ["b"]),  # crop 1 is not among those drawn to train on
        ("111111", "", []),
        ("000000", "", []),  # which the manifest is refused for
        ("100111", "train train train val val val", ["b"]),
        ("110000", "train train train val val val", []),
    ],
)
def test_class_whose_weights_are_all_0_is_an_error(
    make_crops: Make, panel3: Panel, write_manifest: Make, weights: str, splits: str, classes: list[str]
) -> None:
    make_crops(6)
    parts = splits.split() or [""] * 6
    rows = [f"{n}.tif,{'ab'[n % 2]},g{n},{weights[n]},{parts[n]}" for n in range(6)]
    report = check(write_manifest("path,label,group,weight,split", *rows), panel3)
    what = [f.error.what for f in report.findings if f.code == "class_without_weight"]
    assert what == [f"every crop to train on of class '{name}' has the weight 0" for name in classes]
    assert report.count("error") == len(classes) + (weights == "000000")


def test_manifest_that_cannot_be_parsed_is_a_finding_and_a_missing_one_an_error(tmp_path: Path, panel3: Panel) -> None:
    (tmp_path / "m.csv").write_text("")
    report = check(tmp_path / "m.csv", panel3)
    assert (report.crops, found(report)["error"]) == (0, {"unusable_source"})
    (tmp_path / "m.csv").write_text("file,label\na.tif,x\n")
    assert found(check(tmp_path / "m.csv", panel3))["error"] == {"missing_column", "unknown_column"}
    with pytest.raises(ManifestError, match="no such file"):
        check(tmp_path / "gone.csv", panel3)


def test_unlabelled_crops_need_no_groups(make_crops: Make, panel3: Panel, write_manifest: Make) -> None:
    make_crops(2)
    manifest = write_manifest("path", "0.tif", "1.tif")
    assert check(manifest, panel3, labelled=False).findings == []
    assert found(check(manifest, panel3))["error"] == {"missing_column"}


def test_store_is_checked_against_its_hash(make_crops: Make, panel3: Panel, tmp_path: Path) -> None:
    crops = read_crops(make_crops(6), panel3, assumed_pixel_size_um=0.5)
    store = pack_crops(crops, tmp_path / "s", pixel_size_um=None, crop_size_px=8)
    assert check_crops(store, None).findings == []
    pixels = np.load(store / "crops.npy", mmap_mode="r+")
    assert hashlib.sha256(pixels.tobytes()).hexdigest() in (store / "store.json").read_text()
    pixels[3, 1, 4, 4] ^= 1
    pixels.flush()
    assert found(check_crops(store, None))["error"] == {"damaged_store"}


def test_table_is_short_and_json_whole(make_crops: Make, panel3: Panel) -> None:
    manifest = make_crops(30)
    report = check_crops(manifest, panel3)
    out = StringIO()
    print_report(report, str(manifest), Console(file=out, width=160))
    text = out.getvalue()
    assert text.count("has no pixel size") == SHOWN_PER_KIND
    assert f"and {30 - SHOWN_PER_KIND} more" in text
    assert "30 crops, 30 error(s), 0 warning(s): training would go wrong" in text
    content = report_to_dict(report, str(manifest))
    assert (content["crops"], content["errors"], content["warnings"], len(content["findings"])) == (30, 30, 0, 30)
    assert content["findings"][7]["where"] == str(manifest.parent / "7.tif")
