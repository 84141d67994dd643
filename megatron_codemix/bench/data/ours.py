"""Our side, through the API that users call."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megatron_codemix.bench.data.setting import SEED
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import (
    MixturePlan,
    constant_plan,
    constant_segment,
)
from megatron_codemix.data.mixture.schedule import Course, segment_of
from megatron_codemix.data.mixture.split_tree import best_tree, units_of
from megatron_codemix.data.mixture.weights import quantise_weights
from megatron_codemix.data.order.megatron import MegatronOrder
from megatron_codemix.data.preparation.megatron_blocks import preprocess as write_shards
from megatron_codemix.data.preparation.megatron_flags import read_flags
from megatron_codemix.data.source import SourceSpec


def open_dataset(
    prefixes: Mapping[str, Path], weights: Mapping[str, float], sequence_length: int
) -> MixtureDataset:
    """The samples of these shards, mixed, in the default order."""
    return MixtureDataset(
        [SourceSpec(name, prefix) for name, prefix in prefixes.items()],
        constant_plan(quantise_weights(weights)),
        sequence_length=sequence_length,
        seed=SEED,
    )


def constant_mixture(shares: npt.NDArray[np.float64]) -> Mixture:
    """Sources in these shares, in earliest-deadline order."""
    return Mixture(constant_plan(quantise_weights(_named(shares))))


def tree_mixture(shares: npt.NDArray[np.float64]) -> Mixture:
    """The same by a tree of splits, which runs use for weights that change."""
    units = quantise_weights(_named(shares))
    segment = replace(constant_segment(units), method="split-tree")
    tree, _ = best_tree(segment.source_names, units_of(segment))
    return Mixture(MixturePlan((replace(segment, tree=tree),)))


def changing_mixture(shares: npt.NDArray[np.float64], num_samples: int) -> Mixture:
    """Sources whose weights go on a straight line from these shares to those of their
    neighbours."""
    start, end = _named(shares), _named(np.roll(shares, 1))

    def weights_at(sample: float) -> dict[str, float]:
        done = sample / num_samples
        return {name: (1 - done) * start[name] + done * end[name] for name in start}

    course = Course(
        first_sample=0,
        stop=num_samples,
        natural_stop=num_samples,
        weights_at=weights_at,
        is_constant=False,
    )
    segments = [segment_of(course, 0)]
    while (stop := segments[-1].stop) is not None and stop < num_samples:
        segments.append(segment_of(course, stop))
    return Mixture(MixturePlan(tuple(segments)))


def _named(shares: npt.NDArray[np.float64]) -> dict[str, float]:
    return {f"source-{number:03d}": share for number, share in enumerate(shares.tolist())}


def megatron_order(
    lengths: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], sequence_length: int
) -> MegatronOrder:
    """Megatron's order of one epoch."""
    return MegatronOrder(
        lengths, offsets, sequence_length=sequence_length, seed=SEED, num_samples=None
    )


def preprocess(text: Path, tokenizer: Path, prefix: Path, workers: int) -> None:
    """What tools/preprocess_data.py does: `<prefix>_text_document.bin` and `.idx`."""
    request = read_flags(
        [
            *("--input", str(text), "--output-prefix", str(prefix), "--workers", str(workers)),
            *("--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", str(tokenizer)),
            "--append-eod",
        ]
    )
    write_shards(
        request.files,
        request.tokenizer,
        request.output_prefix,
        keys=request.keys,
        appends_eod=request.appends_eod,
        num_workers=request.num_workers,
        advance=lambda num_bytes: None,
    )
