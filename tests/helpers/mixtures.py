"""Mixtures of short phases, and what has to hold for every plan of one."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from megatron_codemix.config.checks import check_config
from megatron_codemix.config.loader import build_run_config
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.data.mixture.split_tree import MAX_ERROR
from tests.helpers.tiny import default_config, merge

LENGTH = 16


def phase(num_samples: int, mixture: object, **data: object) -> RunConfig:
    """A phase of `num_samples` samples of 16 tokens."""
    sources = {name: {"train": name} for name in "abcdefgh"}
    sources |= {f"s{number:02d}": {"train": "s"} for number in range(64)}
    sources = merge(sources, data.pop("sources", {}))
    tree = merge(
        default_config(Path()),
        {
            "data": {"sequence_length": LENGTH, "changes": [], **data},
            "train": {"train_tokens": num_samples * LENGTH, "global_batch_sequences": 1},
            "schedule": {"warmup_tokens": 0},
        },
    )
    tree["data"] |= {"sources": sources, "mixture": mixture}
    config = build_run_config(texts(tree), "test")
    assert check_config(config) == []
    return config


def texts(value: object) -> object:
    """As a file is read: every scalar is text."""
    if isinstance(value, dict):
        return {key: texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [texts(item) for item in value]
    return str(value)


def counts_in(mixture: Mixture, start: int, stop: int) -> dict[str, int]:
    found = mixture.counts(stop) - mixture.counts(start)
    return dict(zip(mixture.source_names, found.tolist(), strict=True))


def assert_within_bounds(plan: MixturePlan, num_samples: int) -> None:
    """Every prefix is as near to the plan as promised, and draws of a source are 0, 1, 2, ..."""
    mixture = Mixture(plan)
    sources, draws = mixture.locate_range(0, num_samples)
    for number in range(len(mixture.source_names)):
        chosen = draws[sources == number]
        np.testing.assert_array_equal(chosen, np.arange(len(chosen)))
    counts = np.zeros(len(mixture.source_names), np.int64)
    for sample in range(num_samples):
        counts[sources[sample]] += 1
        bound = mixture.error_bounds[plan.segment_at(sample)]
        assert bound < MAX_ERROR
        assert np.abs(counts - mixture.planned(sample + 1)).max() <= bound + 1e-9


MIXTURES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 20), min_size=1).filter(
    lambda weights: any(weights.values())
)


def shares(raw: dict[str, int]) -> dict[str, float]:
    return {name: weight / sum(raw.values()) for name, weight in raw.items()}


def any_mixture(raw: tuple[int, dict[str, int], dict[str, int]]) -> dict[str, object]:
    kind, one, other = raw[0], shares(raw[1]), shares(raw[2])
    return [
        {"kind": "constant", "weights": one},
        {"kind": "linear", "start": one, "end": other},
        {"kind": "cosine", "start": one, "end": other},
        {"kind": "step", "steps": [{"from_tokens": 0, "weights": one},
                                   {"from_tokens": 96, "weights": other}]},
    ][kind]  # fmt: skip


RAW = st.tuples(st.integers(0, 3), MIXTURES, MIXTURES)
