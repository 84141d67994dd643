"""Data sets for Megatron-LM's pretrain_gpt.py; README.md says which lines there call this."""

import argparse
from collections.abc import Callable
from pathlib import Path

from megatron_codemix.adapters.megatron_provider import (
    Blend,
    MegatronDataset,
    SampleFormat,
    datasets_provider,
)

DATA = Path("data")
"""Folder of shards: `codemix data prepare` writes them, and `codemix data manifest` makes those of
Megatron-LM's own tools usable."""


def make_provider(
    args: argparse.Namespace,
    end_of_document: int,
    is_built_on_rank: Callable[[], bool],
    data: Path = DATA,
) -> Callable[..., tuple[MegatronDataset | None, ...]]:
    """What pretrain_gpt.py's train_valid_test_datasets_provider does, with our data sets."""
    train = Blend(
        prefixes={"code": data / "code.train", "text": data / "text.train"},
        weights={"code": 0.3, "text": 0.7},
    )
    valid = Blend(prefixes={"text": data / "text.validation"}, weights={"text": 1.0})
    return datasets_provider(
        {"train": train, "valid": valid},
        SampleFormat.from_args(args, end_of_document),
        sequence_length=args.seq_length,
        seed=args.seed,
        is_built_on_rank=is_built_on_rank,
    )
