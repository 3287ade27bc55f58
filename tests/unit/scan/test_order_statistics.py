"""Sorting and medians give what torch gives, on any device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ctcnet.scan.order_statistics import ascending, lower_median, of_rank


@pytest.fixture
def values() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn((3, 5, 40), generator=generator)
    values[values > 1] = torch.nan
    values[1, 2] = torch.nan
    return values


def test_ascending_puts_nan_last(values: torch.Tensor) -> None:
    torch.testing.assert_close(ascending(values), values.sort(-1).values, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("length", [1, 2, 39, 40])
def test_median_is_the_lower_one_of_what_is_a_number(values: torch.Tensor, length: int) -> None:
    part = values[..., :length]
    torch.testing.assert_close(lower_median(part), part.nanmedian(-1).values, rtol=0, atol=0, equal_nan=True)


def test_median_of_a_view(values: torch.Tensor) -> None:
    part = values.transpose(0, 2)
    torch.testing.assert_close(lower_median(part), part.nanmedian(-1).values, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("length", [1023, 1024, 5000])
def test_long_rows_are_not_sorted_and_give_the_same(length: int) -> None:
    values = torch.randn((2, 3, length), generator=torch.Generator().manual_seed(1)).round(decimals=1)  # with ties
    values[0, 0] = torch.nan
    values[0, 1, 1:] = torch.nan
    values[1, :, ::3] = torch.nan
    torch.testing.assert_close(lower_median(values), values.nanmedian(-1).values, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("length", [40, 5000])
def test_value_of_a_rank(length: int) -> None:
    values = torch.randn((4, length), generator=torch.Generator().manual_seed(2))
    values[:, ::7] = torch.nan
    left = values[~values.isnan()].reshape(4, -1).numpy()
    expected = np.sort(left, axis=1)[:, int(0.35 * left.shape[1])]
    np.testing.assert_array_equal(of_rank(values, lambda number: (number * 0.35).long()).numpy(), expected)
    assert of_rank(torch.full((1, length), torch.nan), lambda number: number).isnan().all()


@pytest.mark.parametrize("period", [1, 13, 26, 64])
def test_a_sample_that_misleads_costs_time_and_nothing_else(period: int) -> None:
    row = torch.rand(4000, generator=torch.Generator().manual_seed(3))
    row[::period] += 2.0  # all, or all of the sample, or a part of it
    row[5] = torch.nan
    ordered = np.sort(row.numpy())
    for share in (0.0, 0.02, 0.5, 0.93, 1.0):
        rank = int(share * 3998)
        assert of_rank(row[None], lambda number, rank=rank: number * 0 + rank).item() == ordered[rank]
