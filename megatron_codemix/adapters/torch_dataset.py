"""Samples of a MixtureDataset as a map-style torch data set."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from megatron_codemix.data.arguments import whole_number
from megatron_codemix.data.batches import Batch, sample_numbers
from megatron_codemix.data.dataset import MixtureDataset

Sample = dict[str, torch.Tensor]


class TorchDataset(torch.utils.data.Dataset[Sample]):
    """Samples [first_sample, first_sample + num_samples) of a mixture, for a DataLoader.

    Item i is a pure function of i, so any sampler, any number of workers and any restart give the
    same samples; to go on after a restart, either start the sampler where it stood or give
    `first_sample`. Read in order (no shuffling: the mixture is shuffled already).

    A DataLoader hands a whole batch to `__getitems__`, which gathers it in one call. Workers may be
    forked or spawned: what is pickled is `open_dataset`, not what it has opened.
    """

    def __init__(
        self,
        open_dataset: Callable[[], MixtureDataset],
        num_samples: int,
        *,
        first_sample: int = 0,
    ) -> None:
        """open_dataset: opens the mixture, once in each process; functools.partial(MixtureDataset,
        ...) can be pickled. It is called at once, so that what is wrong with the data is raised
        here. num_samples: the length, since a mixture has no end: items from first_sample on, so
        a run of n samples that goes on at first_sample has n - first_sample.
        """
        self._open_dataset = open_dataset
        self._dataset: MixtureDataset | None = open_dataset()
        self.num_samples = whole_number(num_samples, "num_samples", least=0)
        self.first_sample = whole_number(first_sample, "first_sample", least=0)

    @property
    def mixture_dataset(self) -> MixtureDataset:
        """The data set of this process."""
        if self._dataset is None:
            self._dataset = self._open_dataset()
        return self._dataset

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> Sample:
        """tokens, labels and position_ids (int64 [S]), loss_mask (float32 [S]), source_id (int16
        [])."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Several items, read at once. Raises IndexError on one that is not there."""
        batch = self.read(indices)
        return [
            {name: tensor[row] for name, tensor in tensors(batch).items()}
            for row in range(len(batch.source_id))
        ]

    def read(self, indices: Sequence[int]) -> Batch:
        """The batch of these items, in numpy."""
        numbers = sample_numbers(indices)
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < self.num_samples):
            raise IndexError(
                f"items {numbers.min()} to {numbers.max()} of a data set of {self.num_samples}"
            )
        return self.mixture_dataset.batch(self.first_sample + numbers)

    def __getstate__(self) -> dict[str, Any]:  # Any: whatever the attributes are
        return {**self.__dict__, "_dataset": None}


def tensors(batch: Batch) -> Sample:
    """What a model is given of a batch, [B, S] each and source_id [B], sharing its memory."""
    names = ("tokens", "labels", "loss_mask", "position_ids", "source_id")
    return {name: torch.from_numpy(getattr(batch, name)) for name in names}
