"""What a plan assumes where a file, such as that of a model alone, does not say it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megatron_codemix.config.loader import (
    build_run_config,
    load_tree,
    read_overrides,
    refuse_study,
    set_dotted,
)
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.config.tree import Tree, is_given


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """A value that decides the plan and that nobody has given, or not so."""

    field: str
    value: str
    reason: str

    def as_dict(self) -> dict[str, str]:
        """For --json."""
        return asdict(self)


_TOLD: Mapping[str, tuple[Any, str]] = {  # Any: values of a Tree
    "data.sequence_length": ("4096", "a usual length; files of models mostly have none"),
    "train.global_batch_sequences": ("512", "the first paper's batch"),
    "precision": ({"kind": "bf16"}, "what GPUs are asked for"),
    "optimizer": ({"kind": "adamw", "weight_decay": "0.1"}, "its state takes memory"),
}
"""Dotted key -> value, and why this one. The layout's own defaults are the configuration's."""


_ON_GPUS = Assumption(
    field="backend.device", value="GPUs", reason="a plan is of those, and cpu was asked for"
)


@dataclass(frozen=True, kw_only=True)
class PlannedConfig:
    """A configuration to be planned, and what of it nobody has given."""

    config: RunConfig
    assumptions: tuple[Assumption, ...]
    train_tokens: int | None
    """None where they were not given."""


def load_for_plan(path: Path, overrides: Sequence[str] = ()) -> PlannedConfig:
    """The configuration in a file, completed by what is assumed. Raises ConfigError with what is
    wrong in what is there."""
    tree = load_tree(path)
    refuse_study(tree, path)
    return complete(read_overrides(tree, overrides), str(path))


def complete(tree: Tree, where: str) -> PlannedConfig:
    """As `load_for_plan`, of a tree that `where` stands for in problems."""
    values = {key: value for key, (value, _) in _TOLD.items()} | _unread(tree)
    missing = [key for key in values if not is_given(tree, key)]
    whole = tree
    for key in missing:
        whole = set_dotted(whole, key, values[key], where=f"assumed {key}")
    config = build_run_config(whole, where)
    return PlannedConfig(
        config=config,
        assumptions=(
            *(
                Assumption(field=key, value=_text(value), reason=reason)
                for key, (value, reason) in _TOLD.items()
                if key in missing
            ),
            *([_ON_GPUS] if config.backend.device == "cpu" else []),
        ),
        train_tokens=None if "train.train_tokens" in missing else config.train.train_tokens,
    )


def _unread(tree: Tree) -> Tree:
    """What a configuration must have and no estimate looks at."""
    data = tree.get("data")
    given = data.get("sources") if isinstance(data, dict) else None
    sources = given if isinstance(given, dict) and given else {"any": {"train": "any"}}
    return {
        "data.sources": sources,
        "data.mixture": {"weights": {next(iter(sources)): "1"}},
        "tokenizer.path": "any",
        "schedule": {"kind": "constant", "lr": "1", "warmup_tokens": "0"},
        "train.train_tokens": "1B",
        "train.seed": "0",
    }


def _text(value: Any) -> str:  # Any: a value of a Tree
    return str(value["kind"]) if isinstance(value, dict) else str(value)
