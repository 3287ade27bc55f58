"""Shared by the simulator's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from ctcnet.panel import Panel, load_panel


@pytest.fixture(scope="session")
def five_colour() -> Panel:
    """The shipped five-colour panel."""
    return load_panel("ctc5")


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are drawn faster on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
