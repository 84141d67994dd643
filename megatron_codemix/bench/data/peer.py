"""The peer: megatron-core's own data sets, as they are installed.

`megatron.core.datasets` works on a CPU as it is, so the CPU meaning of torch.cuda is not installed
here: its hook on every torch function would slow the peer down.
"""

import logging
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.bench.data.setting import END_OF_DOCUMENT, SEED, VOCABULARY_SIZE

Indices = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]

_INDEX_BLOCK = 1_000_000
# megatron-core says at INFO what it builds; as a row's line this would be noise.
logging.getLogger("megatron").setLevel(logging.ERROR)
with warnings.catch_warnings():
    # At import it warns of the GPU packages that it does without.
    warnings.simplefilter("ignore")
    from megatron.core.datasets import helpers
    from megatron.core.datasets.blended_dataset import BlendedDataset
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
    from megatron.core.datasets.utils import Split

__all__ = ["IndexedDatasetBuilder", "helpers"]


class PeerTokenizer:
    """What GPTDataset asks of a tokenizer."""

    vocab_size = VOCABULARY_SIZE
    eod = END_OF_DOCUMENT
    pad = VOCABULARY_SIZE
    unique_identifiers = {"class": "bench"}  # part of the cache's name


def gpt_config(sequence_length: int, cache: Path | None) -> Any:  # Any: untyped class
    """The usual settings of a pretraining: nothing reset, no attention mask made in the loader."""
    return GPTDatasetConfig(
        random_seed=SEED,
        sequence_length=sequence_length,
        split="1",
        path_to_cache=None if cache is None else str(cache),
        tokenizer=PeerTokenizer(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
    )


def open_gpt_dataset(
    prefix: Path, sequence_length: int, cache: Path, num_samples: int | None = None
) -> Any:  # Any: untyped class
    """A GPTDataset over all documents; one epoch unless `num_samples` is given."""
    indexed = IndexedDataset(str(prefix))
    documents = np.arange(len(indexed), dtype=np.int32)
    return GPTDataset(
        indexed,
        str(prefix),
        documents,
        num_samples,
        Split.train,
        gpt_config(sequence_length, cache),
    )


def blend(datasets: Sequence[Any], weights: Sequence[float], num_samples: int) -> Any:
    """A BlendedDataset, without a cache: to write one it wants a process group."""
    return BlendedDataset(list(datasets), list(weights), num_samples, gpt_config(2048, None))


class SizedDataset(SimpleNamespace):
    """All that BlendedDataset asks of a data set while it builds its indices."""

    def __init__(self, num_samples: int, name: str) -> None:
        super().__init__(index_split=Split.train, unique_identifiers={"dataset_path": name})
        self._num_samples = num_samples

    def __len__(self) -> int:
        return self._num_samples


class GptIndices:
    """The indices of one epoch of a shard, built from nothing by each call."""

    def __init__(self, prefix: Path, sequence_length: int, cache: Path) -> None:
        self.prefix, self.sequence_length, self.cache = prefix, sequence_length, cache
        self._indexed = IndexedDataset(str(prefix))
        self._indexed.sequence_lengths.sum()  # read the file: both sides start from memory
        self._documents = np.arange(len(self._indexed), dtype=np.int32)

    def build(self) -> Indices:
        """The document, sample and shuffle index; also written to the cache, as it always does."""
        dataset = GPTDataset(
            self._indexed,
            str(self.prefix),
            self._documents,
            None,
            Split.train,
            gpt_config(self.sequence_length, self.cache),
        )
        return dataset.document_index, dataset.sample_index, dataset.shuffle_index

    def forget(self) -> None:
        """Removes the cache."""
        remove(self.cache)


def write_index(prefix: Path, lengths: npt.NDArray[np.int32]) -> None:
    """`<prefix>.idx` by IndexedDatasetBuilder, its lists filled as fast as Python can: the way of
    Megatron-LM's newest tool (add_documents), several times faster than add_document."""
    builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=np.uint16)
    for start in range(0, len(lengths), _INDEX_BLOCK):
        block = lengths[start : start + _INDEX_BLOCK]
        builder.sequence_lengths.extend(block.tolist())
        builder.document_indices.extend(range(start + 1, start + len(block) + 1))
    builder.finalize(f"{prefix}.idx")


def folder_bytes(folder: Path) -> int:
    """Size of all files under `folder`."""
    return sum(
        os.path.getsize(os.path.join(path, name))
        for path, _, names in os.walk(folder)
        for name in names
    )


def remove(folder: Path) -> None:
    """`folder` and all in it, where it exists."""
    shutil.rmtree(folder, ignore_errors=True)


def build_blending_indices(
    weights: npt.NDArray[np.float64], num_samples: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Its C++ alone: source and draw of each sample."""
    sources = np.zeros(num_samples, np.int16)
    draws = np.zeros(num_samples, np.int64)
    helpers.build_blending_indices(sources, draws, weights, len(weights), num_samples, False)
    return sources, draws
