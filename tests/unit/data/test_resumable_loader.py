from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctcnet.data.crop_dataset import CropDataset
from ctcnet.data.resumable_loader import ResumableLoader
from ctcnet.data.sample_seeds import sample_seeds
from ctcnet.errors import ImageError, SettingError

pytestmark = pytest.mark.unit


def dataset(count: int, seed: int = 0) -> CropDataset:
    crops = np.arange(count, dtype=np.uint16)[:, None, None, None] * np.ones((1, 2, 4, 4), np.uint16)
    ones = np.ones((count, 2), np.float32)
    targets = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    weight = np.ones(count, np.float32)
    return CropDataset(
        lambda rows: crops[rows], targets, weight, 0 * ones, ones, seed=seed, augmentation=None, full_scale=4095
    )


def loader(count: int, batch_size: int, **options) -> ResumableLoader:
    chosen = {"shuffle": True, "drop_last": True, "seed": 0, **options}
    return ResumableLoader(dataset(count), batch_size, **chosen)


def rows(batches) -> list[list[int]]:
    return [batch["index"].tolist() for batch in batches]


@settings(max_examples=30)
@given(count=st.integers(1, 60), batch_size=st.integers(1, 20), world=st.integers(1, 3), epoch=st.integers(0, 3))
def test_processes_share_each_global_batch(count: int, batch_size: int, world: int, epoch: int) -> None:
    if batch_size < world or count < world:
        return
    whole = rows(loader(count, batch_size, current_epoch=lambda: epoch))
    shares = [
        rows(loader(count, batch_size, current_epoch=lambda: epoch, rank=r, world_size=world)) for r in range(world)
    ]
    assert len(whole) == max(1, count // batch_size) == len(loader(count, batch_size))
    for number, batch in enumerate(whole):
        assert sorted(batch) == sorted(row for share in shares for row in share[number])


def test_validation_sees_every_row_in_order_and_no_process_goes_without_a_batch() -> None:
    options = {"shuffle": False, "drop_last": False}
    assert rows(loader(7, 3, **options)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert rows(loader(7, 3, **options, rank=1, world_size=2)) == [[1], [4], [6]]


@pytest.mark.parametrize("workers", [0, 2])
def test_goes_on_where_the_state_was_taken(workers: int) -> None:
    epoch = [1]
    first = loader(23, 4, current_epoch=lambda: epoch[0], num_workers=workers)
    whole = rows(loader(23, 4, current_epoch=lambda: 1))
    iterator = iter(first)
    seen = rows([next(iterator), next(iterator)])
    state = first.state_dict()
    assert state == {"epoch": 1, "done": 2}
    second = loader(23, 4, current_epoch=lambda: epoch[0], num_workers=workers)
    second.load_state_dict(state)
    assert seen + rows(second) == whole
    epoch[0] = 2
    assert rows(second) == rows(loader(23, 4, current_epoch=lambda: 2)) != whole


def test_state_of_a_finished_epoch_starts_the_next() -> None:
    resumed = loader(8, 4, current_epoch=lambda: 3)
    resumed.load_state_dict({"epoch": 2, "done": 2})
    assert rows(resumed) == rows(loader(8, 4, current_epoch=lambda: 3))


def test_batches_hold_what_they_say() -> None:
    batch = next(iter(loader(6, 6)))
    assert batch["crops"].dtype == torch.uint16
    assert batch["crops"].shape == (6, 2, 4, 4)
    assert (batch["crops"][:, 0, 0, 0].int() == batch["index"]).all()
    assert batch["presence"].all()
    assert (batch["target"].argmax(1) == batch["index"] % 3).all()
    assert (batch["sample_seed"].numpy() == sample_seeds(0, 0, batch["index"].numpy())).all()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [ImageError("is empty", where="3.tif", fix="copy it again"), MemoryError("2 GB")])
def test_errors_of_workers_come_as_they_were_raised(error: Exception, workers: int) -> None:
    reading = loader(8, 2, shuffle=False, num_workers=workers)
    whole = reading.dataset.read

    def read(rows: np.ndarray) -> np.ndarray:
        if 3 in rows:
            raise error
        return whole(rows)

    reading.dataset.read = read
    batches = iter(reading)
    assert next(batches)["index"].tolist() == [0, 1]
    with pytest.raises(type(error)) as caught:
        next(batches)
    assert str(caught.value) == str(error)
    assert vars(caught.value) == vars(error)
    assert reading.state_dict()["done"] == 1


def test_refuses_a_batch_smaller_than_the_number_of_processes() -> None:
    with pytest.raises(SettingError, match="processes"):
        loader(8, 2, world_size=3)


def test_seed_zero_is_a_seed() -> None:
    assert rows(loader(30, 5, seed=0)) == rows(loader(30, 5, seed=0))
    assert rows(loader(30, 5, seed=0)) != rows(loader(30, 5, seed=1))
    numbers = np.arange(1000)
    seeds = [sample_seeds(s, e, numbers) for s in (0, 1) for e in (0, 1)]
    assert len(np.unique(np.concatenate(seeds))) == 4000


@settings(max_examples=30)
@given(
    count=st.integers(1, 30), batch_size=st.integers(1, 12), least=st.integers(1, 20), drop_last=st.booleans(),
    epoch=st.integers(0, 3),
)  # fmt: skip
def test_few_crops_are_passed_over_again_until_an_epoch_is_long_enough(
    count: int, batch_size: int, least: int, drop_last: bool, epoch: int
) -> None:
    once = loader(count, batch_size, drop_last=drop_last, current_epoch=lambda: 0)
    long = loader(count, batch_size, drop_last=drop_last, current_epoch=lambda: epoch, least_batches=least)
    batches = rows(long)
    assert len(batches) == len(long)
    assert least <= len(long) < least + len(once)
    for start in range(0, len(batches), len(once)):
        seen = sorted(row for batch in batches[start : start + len(once)] for row in batch)
        assert len(seen) == len(set(seen)) >= min(count, batch_size)
        assert drop_last or seen == list(range(count))


def test_each_pass_has_an_order_and_seeds_of_its_own() -> None:
    epochs = [list(loader(8, 4, current_epoch=lambda e=e: e, least_batches=6)) for e in (0, 1)]
    passes = [batches[start : start + 2] for batches in epochs for start in (0, 2, 4)]
    assert len({str(rows(batches)) for batches in passes}) == 6
    seeds = [seed for batches in passes for batch in batches for seed in batch["sample_seed"].tolist()]
    assert len(set(seeds)) == 6 * 8


@pytest.mark.parametrize("done", [1, 2, 3, 6])
def test_goes_on_within_any_pass_of_an_epoch(done: int) -> None:
    whole = rows(loader(9, 4, current_epoch=lambda: 2, least_batches=6))
    resumed = loader(9, 4, current_epoch=lambda: 2, least_batches=6)
    resumed.load_state_dict({"epoch": 2, "done": done})
    assert rows(resumed) == whole[done:]


def test_refuses_an_epoch_without_a_batch() -> None:
    with pytest.raises(SettingError, match="without a batch"):
        loader(8, 2, least_batches=0)
