"""Data sets for Megatron-LM's training loop (pretrain_gpt.py), with the data engine behind them.

`datasets_provider` makes what `pretrain` takes as train_valid_test_datasets_provider. The samples
are the dictionaries that megatron-core's GPTDataset gives; BlendedMegatronDatasetBuilder, its cache
and its barrier are not needed. Megatron-LM's samplers ask for consecutive numbers from its consumed
samples on, so a restart goes on where the run stood.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from megatron_codemix.adapters.torch_dataset import Sample, TorchDataset
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.plan import constant_plan, megatron_plan
from megatron_codemix.data.mixture.weights import quantise_weights
from megatron_codemix.data.source import SourceSpec
from megatron_codemix.errors import ConfigError

_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Blend:
    """The data of one split: shards by the names of their sources, and the share of each."""

    prefixes: Mapping[str, str | Path]
    """Prefix of each source's .bin, .idx and .manifest.json (see `codemix data manifest`)."""
    weights: Mapping[str, float]
    """Share of each source; they sum to 1."""
    order: Literal["stateless", "megatron"] = "stateless"
    """`megatron`: bit for bit the training samples of GPTDataset and BlendedDataset, whose indices
    are built when the first is read."""

    def open(self, num_samples: int, *, sequence_length: int, seed: int) -> MixtureDataset:
        """The samples. Raises DataError on the shards, ConfigError on the weights."""
        units = quantise_weights(self.weights)
        is_megatron = self.order == "megatron"
        return MixtureDataset(
            [SourceSpec(name, Path(prefix)) for name, prefix in self.prefixes.items()],
            megatron_plan(self.weights, num_samples) if is_megatron else constant_plan(units),
            sequence_length=sequence_length,
            seed=seed,
        )


@dataclass(frozen=True, kw_only=True)
class SampleFormat:
    """What GPTDatasetConfig's fields of the same names ask for."""

    end_of_document: int
    """The tokenizer's `eod`."""
    reset_position_ids: bool = False
    reset_attention_mask: bool = False
    eod_mask_loss: bool = False
    create_attention_mask: bool = True

    @classmethod
    def from_args(cls, args: Any, end_of_document: int) -> "SampleFormat":
        """From Megatron-LM's parsed arguments (Any: an argparse namespace)."""
        return cls(
            end_of_document=end_of_document,
            reset_position_ids=args.reset_position_ids,
            reset_attention_mask=args.reset_attention_mask,
            eod_mask_loss=args.eod_mask_loss,
            create_attention_mask=args.create_attention_mask_in_dataloader,
        )


class MegatronDataset(TorchDataset):
    """Samples as GPTDataset gives them: tokens, labels, position_ids (int64 [S]), loss_mask
    (float32 [S]) and, where asked for, attention_mask (bool [1, S, S], true where a token must not
    look)."""

    def __init__(
        self,
        open_dataset: Callable[[], MixtureDataset],
        num_samples: int,
        sample_format: SampleFormat,
    ) -> None:
        """See TorchDataset."""
        super().__init__(open_dataset, num_samples)
        self.sample_format = sample_format

    def __getitem__(self, index: int | None) -> Sample:
        """None is Megatron-LM's request for a sample that fills up a batch: it has no loss."""
        if index is not None:
            return super().__getitem__(index)
        sample = super().__getitem__(0)
        return {**sample, "loss_mask": torch.zeros_like(sample["loss_mask"])}

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """See TorchDataset."""
        batch = self.read(indices)
        if self.sample_format.eod_mask_loss:
            batch.loss_mask[batch.tokens == self.sample_format.end_of_document] = 0
        if self.sample_format.reset_position_ids:
            batch.position_ids[:] = positions_in_documents(batch.tokens, self.sample_format)
        names = ("tokens", "labels", "loss_mask", "position_ids")
        rows = [
            {name: torch.from_numpy(getattr(batch, name)[row]) for name in names}
            for row in range(len(batch.tokens))
        ]
        if self.sample_format.create_attention_mask:
            for row, tokens in zip(rows, batch.tokens, strict=True):
                row["attention_mask"] = torch.from_numpy(attention_mask(tokens, self.sample_format))
        return rows


def positions_in_documents(
    tokens_BS: npt.NDArray[np.int64], sample_format: SampleFormat
) -> npt.NDArray[np.int64]:
    """Positions that restart at 0 after each end of document, as GPTDataset counts them [B, S]."""
    positions = np.arange(tokens_BS.shape[1])
    starts = np.zeros_like(tokens_BS)
    starts[:, 1:] = np.where(tokens_BS[:, :-1] == sample_format.end_of_document, positions[1:], 0)
    return positions - np.maximum.accumulate(starts, axis=1)


def attention_mask(
    tokens_S: npt.NDArray[np.int64], sample_format: SampleFormat
) -> npt.NDArray[np.bool_]:
    """True where a token must not look: ahead and, if asked for, into earlier documents
    [1, S, S]."""
    hidden = ~np.tri(len(tokens_S), dtype=bool)
    if sample_format.reset_attention_mask:
        is_end = tokens_S[:-1] == sample_format.end_of_document
        document = np.concatenate([[0], np.cumsum(is_end)])
        hidden |= document[:, None] != document[None, :]
    return hidden[None]


def datasets_provider(
    blends: Mapping[str, Blend],
    sample_format: SampleFormat,
    *,
    sequence_length: int,
    seed: int,
    is_built_on_rank: Callable[[], bool] = lambda: True,
) -> Callable[..., tuple[MegatronDataset | None, ...]]:
    """A train_valid_test_datasets_provider for Megatron-LM's `pretrain`.

    blends: by split, "train", "valid" and "test"; a split without one gets no data set.
    is_built_on_rank: pretrain_gpt's is_dataset_built_on_rank, so that ranks that read no data open
    none. Raises ConfigError on a split of another name.
    """
    unknown = sorted(set(blends) - set(_SPLITS))
    if unknown:
        raise ConfigError([f"no split {', '.join(unknown)}; there are {', '.join(_SPLITS)}"])

    def provider(
        train_val_test_num_samples: Sequence[int | None], vp_stage: int | None = None
    ) -> tuple[MegatronDataset | None, ...]:
        # vp_stage: newer versions pass the virtual pipeline stage; the data is the same on all.
        return tuple(
            None
            if split not in blends or not num_samples or not is_built_on_rank()
            else MegatronDataset(
                partial(
                    blends[split].open, num_samples, sequence_length=sequence_length, seed=seed
                ),
                num_samples,
                sample_format,
            )
            for split, num_samples in zip(_SPLITS, train_val_test_num_samples, strict=True)
        )

    # Megatron-LM then calls it on every rank, not on the first of each tensor-parallel group.
    provider.is_distributed = True  # type: ignore[attr-defined]  # how it is told
    return provider
