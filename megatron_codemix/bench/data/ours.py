"""Our side, through the API that users call."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megatron_codemix.bench.data.setting import SEED
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import constant_plan
from megatron_codemix.data.mixture.weights import quantise_weights
from megatron_codemix.data.order.megatron import MegatronOrder
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


def _named(shares: npt.NDArray[np.float64]) -> dict[str, float]:
    return {f"source-{number:03d}": share for number, share in enumerate(shares.tolist())}


def megatron_order(
    lengths: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], sequence_length: int
) -> MegatronOrder:
    """Megatron's order of one epoch."""
    return MegatronOrder(
        lengths, offsets, sequence_length=sequence_length, seed=SEED, num_samples=None
    )
