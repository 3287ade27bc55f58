"""Registration of a frame's channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from ctcnet.scan.platform import RegistrationSettings
from ctcnet.scan.preprocess.registration import ChannelShifts, measure_shifts, undo_shifts

pytestmark = pytest.mark.unit

PIXEL_SIZE_UM = 0.64
ROLES = ("nucleus", "epithelial", "leukocyte")
MARKERS = ("DAPI", "CK", "CD45")
quick = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
displacement = st.floats(-24, 24).map(lambda value: round(value, 2))


def undone(counts: torch.Tensor, shifts: ChannelShifts) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts with their shifts undone, in a copy, and where every channel has a source."""
    moved = counts.clone()
    return moved, undo_shifts(moved, shifts)


def _measure(counts, roles=ROLES, **changes) -> ChannelShifts:
    return measure_shifts(counts, roles, PIXEL_SIZE_UM, RegistrationSettings(**changes))


def _shifts(shift_px: np.ndarray) -> ChannelShifts:
    """Shifts of which only `shift_px` matters."""
    count = len(shift_px)
    ones = np.ones(count, np.float32)
    verdict = tuple("undone" if row.any() else "aligned" for row in shift_px)
    return ChannelShifts(shift_px.astype(np.float32), shift_px, ones, ones, ones > 0, 0, verdict)


@quick
@given(x_px=displacement, y_px=displacement)
def test_a_displacement_is_found_to_a_tenth_of_a_pixel_and_undone(field, stack, x_px, y_px):
    counts = stack(field.draw(shift_px=(x_px, y_px), seed=2), field.draw("ring", height=40), field.draw("ring", seed=3))
    shifts = _measure(counts)
    assert shifts.reference == 2
    assert shifts.measured_px[0] == pytest.approx((x_px, y_px), abs=0.1)
    assert shifts.measured_px[1] == pytest.approx((0, 0), abs=0.15)
    assert shifts.sure.all()
    again = _measure(undone(counts, shifts)[0])
    assert np.hypot(*again.measured_px[0]) < 0.3
    assert again.correlation_before[0] > 0.5


def test_agrees_with_the_phase_correlation_of_scikit_image(field, stack):
    moved = field.draw(shift_px=(6.3, -3.8), seed=2)
    still = field.draw(seed=3)
    to_apply, _, _ = phase_cross_correlation(still - 50, moved - 50, upsample_factor=20, normalization=None)
    measured = _measure(stack(moved, still), ("epithelial", "nucleus")).measured_px[0]
    assert measured == pytest.approx((-to_apply[1], -to_apply[0]), abs=0.1)


def test_correlation_is_stated_before_and_after(field, stack):
    shifts = _measure(stack(field.draw(shift_px=(20, 15), seed=2), field.draw(seed=4), field.draw(seed=3)))
    assert shifts.correlation_before[0] < 0.2
    assert shifts.correlation_after[0] > 0.9
    assert shifts.correlation_after[2] == shifts.correlation_before[2] == 1


def test_channels_of_different_places_fit_at_no_shift(field, cells_at, stack):
    other = cells_at(120, field.shape, seed=9)
    shifts = _measure(stack(other.draw(), field.draw("ring", seed=2), field.draw("ring", seed=3)))
    assert shifts.verdict == ("no_shift_fits", "aligned", "aligned")
    assert shifts.unregistered
    assert not shifts.sure[0]
    assert not shifts.shift_px.any()


def test_the_nucleus_is_the_reference_where_more_channels_agree_with_it(field, cells_at, stack):
    other = cells_at(120, field.shape, seed=9)
    shifts = _measure(stack(field.draw(), field.draw("ring", seed=2), other.draw("ring", seed=3)))
    assert shifts.reference == 0
    assert shifts.verdict == ("aligned", "aligned", "no_shift_fits")


@pytest.mark.parametrize("cells", [0, 3])
def test_a_channel_with_few_cells_says_too_little_and_is_left(field, cells_at, stack, cells):
    few = cells_at(cells, field.shape, seed=11).draw(seed=2)
    counts = stack(few, field.draw("ring", seed=4), field.draw("ring", seed=3))
    shifts = _measure(counts)
    assert shifts.verdict == ("too_little_signal", "aligned", "aligned")
    assert not shifts.unregistered
    assert torch.equal(undone(counts, shifts)[0], counts)


def test_three_cells_that_fit_by_chance_are_not_believed(cells_at, stack):
    three = cells_at(3, (360, 480), seed=5)
    shifts = _measure(stack(three.draw(shift_px=(8, 8)), three.draw("ring", seed=2), three.draw("ring", seed=3)))
    assert not shifts.sure[0]
    assert shifts.verdict[0] == "too_little_signal"


def test_a_marker_of_cells_without_cd45_is_registered_over_the_nucleus(field, stack):
    tumour = np.arange(len(field.x_px)) % 2 == 0
    shifts = _measure(
        stack(
            field.draw(shift_px=(5, -3), seed=2),
            field.draw("nucleus", shift_px=(9.5, 1), seed=4, which=tumour),
            field.draw("ring", seed=3, which=~tumour),
        )
    )
    assert shifts.reference == 2
    assert shifts.measured_px[0] == pytest.approx((5, -3), abs=0.15)
    assert shifts.measured_px[1] == pytest.approx((9.5, 1), abs=0.2)


def test_without_a_leukocyte_channel_the_nucleus_is_the_reference(field, stack):
    counts = stack(field.draw("ring", shift_px=(-4, 2), seed=2), field.draw(seed=3))
    shifts = _measure(counts, ("mesenchymal", "nucleus"))
    assert shifts.reference == 1
    assert shifts.measured_px[0] == pytest.approx((-4, 2), abs=0.1)


def test_a_channel_without_a_role_is_measured_and_left(field, stack):
    counts = stack(field.draw(shift_px=(4, 2), seed=2), field.draw("ring", shift_px=(7, 0), seed=4), field.draw("ring"))
    shifts = _measure(counts, ("nucleus", "none", "leukocyte"))
    assert shifts.verdict == ("undone", "left", "aligned")
    assert shifts.measured_px[1] == pytest.approx((7, 0), abs=0.1)
    assert not shifts.shift_px[1].any()
    assert torch.equal(undone(counts, shifts)[0][1], counts[1])


def test_a_shift_beyond_the_largest_is_not_believed(field, stack):
    counts = stack(field.draw(shift_px=(30, 0), seed=2), field.draw("ring", seed=4), field.draw("ring", seed=3))
    assert _measure(counts).sure[0]
    assert not _measure(counts, largest_shift_um=12.0).sure[0]


def test_a_ridge_is_no_peak(cells_at, stack):
    edge = np.zeros((360, 480), np.float32)
    edge[:, 200:] = 400
    noise = [np.random.default_rng(seed).normal(50, 3, edge.shape).astype(np.float32) for seed in range(3)]
    shifts = _measure(stack(noise[0] + np.roll(edge, 5, 1), noise[1] + edge, noise[2] + edge))
    assert not shifts.sure[0]


def test_flat_channels_have_no_correlation(field, stack):
    flat = np.full(field.shape, 12.5, np.float32)
    shifts = _measure(stack(flat, flat, field.draw("ring")))
    assert shifts.verdict == ("too_little_signal", "too_little_signal", "aligned")
    assert np.isnan(shifts.correlation_after[:2]).all()


def test_a_background_clipped_to_zero_does_no_harm(field, stack):
    channels = [field.draw(kind, background=-3, noise=2, shift_px=shift, seed=seed) for kind, shift, seed in (
        ("nucleus", (-17, -24), 2), ("ring", (0, 0), 4), ("ring", (0, 0), 3))]  # fmt: skip
    counts = stack(*[np.clip(np.round(channel), 0, 255) for channel in channels])
    assert float((counts[0] == 0).float().mean()) > 0.5
    assert _measure(counts).measured_px[0] == pytest.approx((-17, -24), abs=0.1)


def test_measuring_twice_gives_the_same(field, stack):
    counts = stack(field.draw(shift_px=(3.3, 1), seed=2), field.draw("ring", seed=4), field.draw("ring", seed=3))
    first, second = _measure(counts), _measure(counts)
    assert first.measured_px.tobytes() == second.measured_px.tobytes()
    assert first.correlation_after.tobytes() == second.correlation_after.tobytes()


@quick
@given(x_px=displacement, y_px=displacement)
def test_undoing_is_close_to_a_spline_shift(field, x_px, y_px):
    image = field.draw(noise=0.0)
    moved, valid = undone(torch.from_numpy(image)[None], _shifts(np.array([[x_px, y_px]])))
    expected = ndimage.shift(image.astype(np.float64), (-y_px, -x_px), order=3, mode="nearest")
    inner = ndimage.binary_erosion(valid.numpy(), iterations=3)
    assert np.abs(moved[0].numpy() - expected)[inner].max() < 0.01 * 200
    assert torch.isfinite(moved).all()


@quick
@given(x_px=st.integers(-30, 30), y_px=st.integers(-30, 30))
def test_whole_pixels_are_moved_exactly_and_the_border_is_repeated(x_px, y_px):
    image = torch.rand((40, 50), generator=torch.Generator().manual_seed(0))
    moved, valid = undone(image[None], _shifts(np.array([[x_px, y_px]])))
    rows, columns = np.arange(40) + y_px, np.arange(50) + x_px
    expected = image[np.clip(rows, 0, 39)][:, np.clip(columns, 0, 49)]
    assert torch.equal(moved[0], expected)
    has_source = ((rows >= 0) & (rows < 40))[:, None] & ((columns >= 0) & (columns < 50))
    assert np.array_equal(valid.numpy(), has_source)


def test_values_stay_within_the_channels_range():
    image = torch.zeros((1, 30, 30))
    image[0, 10:20, 10:20] = 255
    moved, _ = undone(image, _shifts(np.array([[0.5, 0.5]])))
    assert float(moved.min()) == 0
    assert float(moved.max()) == 255


def test_nothing_to_undo_leaves_counts_and_all_valid():
    counts = torch.rand((2, 20, 20))
    moved, valid = undone(counts, _shifts(np.zeros((2, 2))))
    assert torch.equal(moved, counts)
    assert bool(valid.all())
