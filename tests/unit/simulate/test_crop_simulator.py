"""Crops: determinism, ranges, class content, every shipped panel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ctcnet.errors import SettingError
from ctcnet.panel import Channel, Panel, load_panel
from ctcnet.resources import resource_dir
from ctcnet.simulate.composition import CLASSES
from ctcnet.simulate.crop_simulator import CropSimulator

pytestmark = pytest.mark.unit
PANELS = sorted(file.stem for file in (resource_dir("configs") / "panels").glob("*.yaml"))


def _sample(panel: Panel, count: int = 20, **options: float) -> np.ndarray:
    simulator = CropSimulator(panel, num_groups=4, scanners=2, **options)  # type: ignore[arg-type]
    labels = torch.arange(count) % len(CLASSES)
    return simulator.sample(labels, torch.arange(count) % 4).counts.numpy()


@pytest.fixture(scope="module")
def by_class(five_colour: Panel) -> dict[str, np.ndarray]:
    """Signal over background within 3 um of the centre, mean per crop and channel, of 100 crops per class."""
    simulator = CropSimulator(five_colour, num_groups=20)
    labels = torch.arange(500) % len(CLASSES)
    counts = simulator.sample(labels, torch.arange(500) // 5 % 20).counts.numpy().astype(float)
    place = (np.arange(64) - 31.5) * 0.64
    inside = np.hypot(place[:, None], place[None, :]) < 8.0
    signal = counts[:, :, inside].mean(-1) - np.median(counts, axis=(2, 3))
    return {name: signal[labels.numpy() == row] for row, name in enumerate(CLASSES)}


def test_same_seed_same_counts_whatever_the_threads(five_colour: Panel) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = _sample(five_colour, seed=0)
        torch.set_num_threads(2)
        two = _sample(five_colour, seed=0)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(one, two)
    assert (one != _sample(five_colour, seed=1)).mean() > 0.5


@pytest.mark.parametrize("name", PANELS)
def test_every_shipped_panel_renders_every_class(name: str) -> None:
    panel = load_panel(name)
    counts = _sample(panel, 10, seed=0)
    assert counts.dtype == np.uint16
    assert counts.shape == (10, len(panel.channels), 64, 64)
    assert counts.max() <= panel.full_scale
    assert (counts.astype(float).std((2, 3)) > 0).all()
    assert (counts == panel.full_scale).mean() < 0.05


def test_every_role_renders_in_any_order() -> None:
    roles = ("stem", "probe", "monocyte", "t_cell", "none", "scatter", "nucleus")
    panel = Panel("odd", tuple(Channel(f"marker_{role}", role) for role in roles), 14)
    counts = _sample(panel, 50, seed=0, crop_size_px=40).astype(float)
    contrast = np.median(counts.max((2, 3)) - np.median(counts, axis=(2, 3)), axis=0)
    assert contrast[roles.index("nucleus")] > 5 * contrast[roles.index("none")]


def test_ctcs_have_more_epithelial_and_less_leukocyte_stain_than_leukocytes(by_class: dict[str, np.ndarray]) -> None:
    ctc, leukocyte = np.median(by_class["ctc"], 0), np.median(by_class["leukocyte"], 0)
    assert ctc[1] > 2 * leukocyte[1]
    assert leukocyte[2] > 2 * ctc[2]
    assert leukocyte[1] > 0  # never zero


def test_clusters_have_the_markers_of_their_partners(by_class: dict[str, np.ndarray]) -> None:
    neutrophil, platelet, ctc = (
        by_class[name].mean(0) for name in ("ctc_neutrophil_cluster", "ctc_platelet_cluster", "ctc")
    )
    assert neutrophil[3] > 1.5 * ctc[3]
    assert platelet[4] > 1.5 * ctc[4]


def test_debris_has_the_least_nuclear_stain(by_class: dict[str, np.ndarray]) -> None:
    nuclear = {name: np.median(signal[:, 0]) for name, signal in by_class.items()}
    assert min(nuclear, key=nuclear.__getitem__) == "debris"


def test_panel_without_pixel_size_takes_the_stated_one() -> None:
    panel = load_panel("imaging_flow")
    assert CropSimulator(panel, num_groups=2, scanners=1).pixel_size_um == 0.5
    assert CropSimulator(panel, num_groups=2, scanners=1, pixel_size_um=0.33).pixel_size_um == 0.33


@pytest.mark.parametrize(
    "options", [{"crop_size_px": 8}, {"pixel_size_um": 0.0}, {"num_groups": 0}, {"scanners": 9}, {"difficulty": -1.0}]
)
def test_arguments_outside_their_range_are_refused(options: dict[str, float], five_colour: Panel) -> None:
    with pytest.raises(SettingError, match="outside its range"):
        CropSimulator(five_colour, **{"num_groups": 5, "scanners": 1, **options})  # type: ignore[arg-type]


def test_labels_and_groups_are_checked(five_colour: Panel) -> None:
    simulator = CropSimulator(five_colour, num_groups=3, scanners=1)
    with pytest.raises(SettingError, match="labels"):
        simulator.sample(torch.tensor([5]), torch.tensor([0]))
    with pytest.raises(SettingError, match="groups"):
        simulator.sample(torch.tensor([0]), torch.tensor([3]))
    with pytest.raises(SettingError, match="as many"):
        simulator.sample(torch.tensor([0, 1]), torch.tensor([0]))
