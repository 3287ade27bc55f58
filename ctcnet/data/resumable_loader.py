"""A loader whose order is a pure function of seed and epoch, and which resumes at the batch where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from ctcnet.data.crop_dataset import Batch, BatchRequest, CropDataset
from ctcnet.data.sample_seeds import epoch_order
from ctcnet.errors import CtcnetError, SettingError, memory_errors


class _EpochRequests:
    """Batch sampler of DataLoader: the requests of one process for the rest of the current epoch."""

    def __init__(self, loader: ResumableLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[BatchRequest]:
        return iter(self._loader.requests())

    def __len__(self) -> int:
        return len(self._loader)


class _ErrorsAsValues(Dataset):
    """The dataset, with errors that a user is told of in the place of batches.

    What a worker raises reaches the caller with the worker's traceback for its message; what it returns comes as it is.
    """

    def __init__(self, dataset: CropDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, request: BatchRequest) -> Batch | Exception:
        try:
            return self._dataset.__getitems__(request)
        except (CtcnetError, *memory_errors()) as error:
            return error


def _as_is(fetched: Batch | Exception) -> Batch | Exception:
    return fetched


class ResumableLoader:
    """Batches of a `CropDataset`, with `state_dict` and `load_state_dict`.

    Each time it is iterated over it starts the epoch that the run is in, except after `load_state_dict`, when it goes
    on where the state was taken if that is in the same epoch. Nothing that workers fetched ahead counts as seen.

    Args:
        dataset: the crops.
        batch_size: crops in a batch over all processes together.
        shuffle: new order each epoch; else the order of the dataset.
        drop_last: leave out the last batch of a pass when it is not full, unless it is the only one.
        seed: seed of the run.
        least_batches: of an epoch; where one pass over the crops has fewer, an epoch is as many passes as it takes,
            each in an order and with seeds of its own.
        num_workers: processes that read ahead; 0 reads in the caller's.
        current_epoch: gives the epoch that the run is in; None stands for epoch 0 always.
        rank, world_size: this process and the number of them; process r gets crops r, r + world_size, ... of a batch.
        pin_memory: for faster copies to a GPU.

    Raises:
        SettingError: no crops, `least_batches` below 1, or a batch smaller than the number of processes.
    """

    def __init__(
        self,
        dataset: CropDataset,
        batch_size: int,
        *,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        least_batches: int = 1,
        num_workers: int = 0,
        current_epoch: Callable[[], int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
    ) -> None:
        if len(dataset) == 0:
            raise SettingError("there are no crops to load", expected="one or more")
        if least_batches < 1:
            raise SettingError("an epoch without a batch", expected="1 or more", found=str(least_batches))
        if batch_size < world_size:
            raise SettingError(
                "batch_size is smaller than the number of processes",
                expected=f"{world_size} or more",
                found=str(batch_size),
                fix="raise --data.batch_size, or use fewer devices",
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        full, rest = divmod(len(dataset), batch_size)
        self._pass_batches = max(1, full) if drop_last else full + (rest > 0)
        self._passes = -(-least_batches // self._pass_batches)
        self.rank, self.world_size = rank, world_size
        self.epoch, self._done, self._resumed = 0, 0, False
        self._current_epoch = current_epoch or (lambda: 0)
        self._loader = DataLoader(
            _ErrorsAsValues(dataset),
            batch_sampler=_EpochRequests(self),  # pyright: ignore
            collate_fn=_as_is,  # pyright: ignore
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._passes * self._pass_batches

    def requests(self) -> list[BatchRequest]:
        """What this process reads in the rest of the current epoch."""
        first = self.epoch * self._passes
        wanted = [request for number in range(first, first + self._passes) for request in self._pass(number)]
        return wanted[self._done :]

    def _pass(self, number: int) -> list[BatchRequest]:
        """All batches of one pass over the crops, counted from the start of the run."""
        count = len(self.dataset)
        order = epoch_order(self.seed, number, count) if self.shuffle else np.arange(count)
        starts = range(0, self._pass_batches * self.batch_size, self.batch_size)
        return [BatchRequest(number, self._share(order[start : start + self.batch_size])) for start in starts]

    def _share(self, batch: np.ndarray) -> np.ndarray:
        """This process's crops; where a last batch has none for it, the first again (whoever gathers sees its row)."""
        share = batch[self.rank :: self.world_size]
        return share if len(share) else batch[:1]

    def __iter__(self) -> Iterator[Batch]:
        return self._batches()

    def _batches(self) -> Iterator[Batch]:
        epoch = self._current_epoch()
        if not self._resumed or self.epoch != epoch:
            self.epoch, self._done = epoch, 0
        self._resumed = False
        for fetched in self._loader:
            if isinstance(fetched, Exception):
                raise fetched
            self._done += 1
            yield fetched

    def state_dict(self) -> dict[str, Any]:
        """Epoch, and how many of its batches were handed out."""
        return {"epoch": self.epoch, "done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.epoch, self._done, self._resumed = int(state["epoch"]), int(state["done"]), True
