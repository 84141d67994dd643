"""What differs between two configurations, and whether it makes another run of it."""

from dataclasses import dataclass
from typing import Any, Literal

from megatron_codemix.config.identity import HASHED_SECTIONS, SAMPLE_OPTIONS
from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.config.schema import RunConfig

Path = tuple[str, ...]

Decides = Literal["yes", "by content", "no"]
"""Whether a field is part of the identity. "by content": the files that the path leads to are, not
their place; of caps, the mixture that they lead to."""

_NEVER = frozenset({"layout", "checkpoint", "validation", "survival", "backend", "logging"})


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field; None stands for absent."""

    path: str
    first: Any  # Any: a JSON value
    second: Any  # Any: a JSON value
    identity: Decides


def differences(first: RunConfig, second: RunConfig) -> list[Difference]:
    """Every field with another value, in the order of the schema."""
    ours = _leaves(first.model_dump(mode="json"))
    theirs = _leaves(second.model_dump(mode="json"))
    weighted = weighted_sources(first.data) | weighted_sources(second.data)
    return [
        Difference(
            path=".".join(path),
            first=ours.get(path),
            second=theirs.get(path),
            identity=_decides(path, weighted, bool(ours.get(path) or theirs.get(path))),
        )
        for path in dict.fromkeys([*ours, *theirs])
        if ours.get(path) != theirs.get(path)
    ]


def _leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    if isinstance(value, dict):
        return {p: leaf for key in value for p, leaf in _leaves(value[key], (*path, key)).items()}
    return {path: value}


def _decides(path: Path, weighted: set[str], is_set: bool) -> Decides:
    """As `identity.run_identity` has it; a test holds the two together."""
    match path:
        case ("data", "mixture", _, _):
            return "yes" if is_set else "no"  # a weight of 0 and none are the same mixture
        case ("data", "sources", name, "train" | "max_epochs" | "spill_to"):
            return "by content" if name in weighted else "no"
        case ("data", "sources", name, option, *_) if option in SAMPLE_OPTIONS:
            return "yes" if name in weighted else "no"
        case ("data", "sources", *_) | ("data", "loader" | "prefetch_steps"):
            return "no"
        case ("data", *_) | ("init_from", "load" | "at_tokens"):
            return "yes"
        case ("tokenizer", *_) | ("init_from", *_):
            return "by content"
    if path[0] in HASHED_SECTIONS:
        return "yes"
    assert path[0] in _NEVER, f"{path}: not known whether it is part of the identity"
    return "no"
