"""Sorting and medians give what torch gives, on any device."""

from __future__ import annotations

import pytest
import torch

from ctcnet.scan.order_statistics import ascending, lower_median


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
