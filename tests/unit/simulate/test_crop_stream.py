"""The stream of simulated crops: levels, scale, mixing and repetition."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from ctcnet.panel import load_panel
from ctcnet.simulate.composition import CLASSES, IS_LEUKOCYTE
from ctcnet.simulate.crop_stream import (
    CLASS_SHARES,
    CropStream,
    Imaging,
    Part,
    Piece,
    StreamSettings,
    class_frequencies,
    draw_imaging,
    simulate_piece,
)
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.random_panels import TUMOUR_ROLES

SMALL = StreamSettings(
    (load_panel("ctc5"), load_panel("sarcoma")), 64, 0.6, groups=3, group_crops=20, pool=4, part_crops=16, parts=3
)

pytestmark = pytest.mark.unit
PLAIN = Imaging(0.6, 0.45, 0.5)


def _piece(settings: StreamSettings, imaging: Imaging = PLAIN):
    return simulate_piece(load_panel("ctc5"), settings, imaging, 7, Effects.none())


def test_every_cartridge_holds_each_class_as_often_as_stated() -> None:
    piece = _piece(SMALL)
    assert piece.x.shape == (60, 5, 64, 64)
    assert piece.x.dtype == torch.float16
    for group in range(3):
        counts = np.bincount(piece.labels[piece.groups == group].numpy(), minlength=len(CLASSES))
        np.testing.assert_allclose(counts / 20, class_frequencies(SMALL))


def test_frequencies_are_the_stated_shares_to_a_crop() -> None:
    shares = np.array(CLASS_SHARES) / sum(CLASS_SHARES)
    np.testing.assert_allclose(class_frequencies(SMALL), shares, atol=1 / 20)
    np.testing.assert_allclose(class_frequencies(replace(SMALL, group_crops=4000)), shares, atol=1 / 4000)
    assert sum(class_frequencies(SMALL)) == pytest.approx(1)


def test_a_leukocyte_is_about_one_where_its_cartridge_gives_the_levels() -> None:
    piece = _piece(replace(SMALL, group_crops=60))
    leukocytes = piece.x[piece.labels == IS_LEUKOCYTE].float()
    centre = leukocytes[:, :3, 29:35, 29:35].mean((2, 3)).median(0).values
    assert (centre > 0.4).all()
    assert (centre < 2.0).all()
    assert abs(float(leukocytes[:, :, :4].median())) < 0.2


def test_crops_of_other_scales_are_brought_to_the_network() -> None:
    coarse = _piece(SMALL, Imaging(0.8, 0.45, 0.5))
    fine = _piece(SMALL, Imaging(0.45, 0.45, 0.5))
    for piece in (coarse, fine):
        assert piece.x.shape[-2:] == (64, 64)
        assert bool(torch.isfinite(piece.x).all())


def test_per_crop_levels_reach_from_nothing_to_one() -> None:
    piece = _piece(replace(SMALL, per_crop=True))
    blocks = torch.nn.functional.avg_pool2d(piece.x.float(), 4)
    assert float(blocks.amin((2, 3)).abs().max()) < 0.01
    assert float(blocks.amax((2, 3)).max()) < 1.01


def _first(count: int, seed: int) -> list[list[Part]]:
    return list(islice(CropStream(SMALL, seed, Effects.all()), count))


def test_same_seed_same_batches_and_another_seed_others() -> None:
    one, same, other = _first(3, 1), _first(3, 1), _first(3, 2)
    for left, right in zip(one, same, strict=True):
        for a, b in zip(left, right, strict=True):
            assert a.roles == b.roles
            assert torch.equal(a.x, b.x)
            assert torch.equal(a.labels, b.labels)
    assert not all(a.x.shape == b.x.shape and torch.equal(a.x, b.x) for a, b in zip(one[0], other[0], strict=True))


def test_a_teachers_answers_stay_with_their_crops() -> None:
    def teacher(piece: Piece) -> torch.Tensor:
        sums = piece.x.float().sum((1, 2, 3))  # the same however a crop is turned
        return torch.stack([sums, piece.labels.float()], 1)

    stream = CropStream(replace(SMALL, drop_share=0.0), 1, Effects.all(), teacher=teacher)
    parts = [part for batch in islice(stream, 6) for part in batch]
    for part in parts:
        assert part.taught is not None
        torch.testing.assert_close(part.taught[:, 0], part.x.float().sum((1, 2, 3)), rtol=1e-3, atol=1.0)
        assert torch.equal(part.taught[:, 1], part.labels.float())
    assert len({float(part.taught[0, 0]) for part in parts}) > 6


@pytest.mark.parametrize("platelet", [True, False])
def test_random_panels_have_a_platelet_marker_as_is_asked_for(platelet: bool) -> None:
    settings = replace(SMALL, panels=(), platelet=platelet, drop_share=0.0)
    parts = [part for batch in islice(CropStream(settings, 1, Effects.none()), 4) for part in batch]
    assert len({part.roles for part in parts}) > 2
    assert all(("platelet" in part.roles) == platelet for part in parts)


def test_batches_mix_panels_and_keep_nucleus_and_tumour_marker() -> None:
    batches = _first(8, 3)
    assert all(len(batch) == SMALL.parts and all(len(part.labels) == 16 for part in batch) for batch in batches)
    roles = {part.roles for batch in batches for part in batch}
    assert len(roles) > 2
    assert all("nucleus" in one and set(one) & set(TUMOUR_ROLES) for one in roles)


@pytest.mark.parametrize("seed", range(5))
def test_imaging_lies_in_its_ranges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        imaging = draw_imaging(load_panel("cellsearch4"), 0.6, rng)
        assert 0.3 <= imaging.pixel_size_um <= 1.0
        assert 0.4 <= imaging.numerical_aperture <= 0.8
