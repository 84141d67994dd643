"""Domain weights that DoReMi has published or written, as a mixture of the user's own sources."""

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.config.problems import suggestion
from megatron_codemix.errors import ConfigError, DataError

WEIGHTS_KEY = "train_domain_weights"

_ROUNDING = 0.01
"""Published weights have four decimals: those of the Pile's 22 domains sum to 1 within this."""


@dataclass(frozen=True, kw_only=True)
class ImportedMixture:
    """Weights for `data.mixture.weights`, and what was done to get them."""

    weights: dict[str, float]
    """Of each source; they sum to 1."""
    left_out: dict[str, float]
    """Weight of each domain that was left out, before the others were scaled up."""
    published_sum: float
    """Of all weights in the file."""

    def as_dict(self) -> dict[str, object]:
        return {
            "data": {"mixture": {"kind": "constant", "weights": self.weights}},
            "left_out": self.left_out,
            "published_sum": self.published_sum,
        }


def read_domain_weights(path: Path) -> dict[str, float]:
    """Weight of each domain, as in the file: `{"train_domain_weights": {"Github": 0.0179, ...}}`.

    Raises DataError where the file is something else or the weights are no distribution.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deeply
        raise DataError(f"{path}: not a JSON file ({error})") from error
    weights = content.get(WEIGHTS_KEY) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise DataError(
            f"{path}: has no {WEIGHTS_KEY!r}; expected a file of DoReMi's "
            f'configuration: {{"{WEIGHTS_KEY}": {{"domain": weight, ...}}}}'
        )
    wrong = {name: value for name, value in weights.items() if not _is_share(value)}
    if wrong:
        raise DataError(f"{path}: weights must be numbers from 0 to 1, got {wrong}")
    if abs(math.fsum(weights.values()) - 1) > _ROUNDING:
        raise DataError(f"{path}: the weights sum to {math.fsum(weights.values()):.6g}, not 1")
    return {name: float(value) for name, value in weights.items()}


def import_mixture(
    domain_weights: Mapping[str, float],
    sources: Collection[str],
    *,
    source_of: Mapping[str, str] | None = None,
    leave_out: Collection[str] = (),
) -> ImportedMixture:
    """The weights of the user's `sources`.

    source_of: the source that stands for a domain; several domains may share one. A domain that is
    not in it goes to the source of the same name ("Pile-CC" to "pile_cc"), if there is one.
    leave_out: domains without a source; the others are scaled up in proportion.
    Raises ConfigError with everything that does not match.
    """
    source_of = source_of or {}
    problems = [
        f"there is no domain {name!r}{suggestion(name, list(domain_weights))}"
        for name in [*source_of, *leave_out]
        if name not in domain_weights
    ]
    problems += [
        f"domain {domain!r}: there is no source {source!r}{suggestion(source, list(sources))}"
        for domain, source in source_of.items()
        if source not in sources
    ]
    problems += [
        f"domain {domain!r} is both given to source {source_of[domain]!r} and left out"
        for domain in leave_out
        if domain in source_of
    ]
    by_plain_name = {_plain(source): source for source in sources}
    found = {
        domain: source_of.get(domain, by_plain_name.get(_plain(domain)))
        for domain in domain_weights
        if domain not in leave_out
    }
    problems += [
        f"domain {domain!r} (weight {domain_weights[domain]:g}) has no source; "
        "say which source stands for it, or leave it out"
        for domain, source in found.items()
        if source is None
    ]
    unused = [source for source in sources if source not in found.values()]
    if unused and not problems:
        problems.append(f"no domain goes to source {', '.join(map(repr, unused))}")
    if problems:
        raise ConfigError([f"DoReMi weights: {problem}" for problem in problems])

    sums = {
        source: math.fsum(domain_weights[d] for d, target in found.items() if target == source)
        for source in sources
    }
    total = math.fsum(sums.values())
    if total == 0:
        raise ConfigError(["DoReMi weights: all domains of weight above 0 are left out"])
    return ImportedMixture(
        weights={source: share / total for source, share in sums.items()},
        left_out={domain: domain_weights[domain] for domain in leave_out},
        published_sum=math.fsum(domain_weights.values()),
    )


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
