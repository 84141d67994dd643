"""Where a fitted law is asked: a size, tokens and a mixture, as the command line gives them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from megatron_codemix.config.problems import suggestion
from megatron_codemix.errors import ConfigError
from megatron_codemix.scaling.analysis import FittedLaw, Prediction
from megatron_codemix.scaling.law import OUTCOMES, FloatArray, Law

_SAME_TOTAL = 1e-9


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where a law is asked."""

    parameters: float | None = None
    tokens: float | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)
    """Other quantities, such as unique_tokens or loss_nats."""


def point_inputs(law: Law, at: Point) -> dict[str, FloatArray]:
    """What `law.predict` takes, one row. Raises ConfigError with everything that is missing, has no
    effect, or of the other quantities is not above 0."""
    _check_unused(law, at)
    _check_others(law, at.others)
    shares = complete_shares(law, at.shares)
    known: dict[str, float | None] = {
        "parameters": at.parameters,
        "tokens": at.tokens,
        "unique_tokens": at.others.get("unique_tokens", at.tokens),
        **{f"share_{name}": share for name, share in shares.items()},
        **at.others,
    }
    # Laws of size and tokens know what these lead to.
    wanted = [name for name in law.inputs if not (name in OUTCOMES and "tokens" in law.inputs)]
    missing = [name for name in wanted if known.get(name) is None]
    if missing:
        options = {"parameters": "--parameters or --model", "tokens": "--tokens"}
        raise ConfigError(
            [f"law {law.name} needs {n}: {options.get(n, f'--input {n}=VALUE')}" for n in missing]
        )
    values = {name: float(known[name] or 0.0) for name in wanted}
    return {name: np.array([value]) for name, value in values.items()}


def _check_unused(law: Law, at: Point) -> None:
    given = (("parameters", "the size", at.parameters), ("tokens", "--tokens", at.tokens))
    problems = [
        f"{option} has no effect on law {law.name}; it takes {', '.join(law.inputs)}"
        for name, option, value in given
        if value is not None and name not in law.inputs
    ]
    if problems:
        raise ConfigError(problems)


def _check_others(law: Law, others: Mapping[str, float]) -> None:
    taken = [
        name
        for name in law.inputs
        if name not in ("parameters", "tokens") and not name.startswith("share_")
    ]
    has = f"it takes {', '.join(taken)}" if taken else "it takes no such quantity"
    problems = [
        f"--input {name} has no effect on law {law.name}; {has}{suggestion(name, taken)}"
        for name in others
        if name not in taken
    ]
    problems += [
        f"--input {name}={value:g}: must be above 0"
        for name, value in others.items()
        if name in taken and value <= 0
    ]
    if problems:
        raise ConfigError(problems)


def complete_shares(law: Law, given: Mapping[str, float]) -> dict[str, float]:
    """The share of each source of the law, that of a single one that is not given being what is
    left; {} for laws without shares. Raises ConfigError where they are no mixture."""
    sources = [n.removeprefix("share_") for n in law.inputs if n.startswith("share_")]
    if not sources:
        return {}
    problems = [
        f"--share {name}: the law has {', '.join(sources)}{suggestion(name, sources)}"
        for name in given
        if name not in sources
    ]
    absent = [name for name in sources if name not in given]
    total = sum(given.values())
    shares = dict(given)
    if len(absent) == 1 and not problems:
        shares[absent[0]] = 1.0 - total
    elif absent and abs(total - 1) > _SAME_TOTAL:
        problems.append(
            f"law {law.name} takes the shares of {', '.join(sources)}; give all but one of them "
            "with --share NAME=PART"
        )
    if not problems and (min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6):
        problems.append(f"--share: {shares} is no mixture; parts from 0 to 1 that sum to 1")
    if problems:
        raise ConfigError(problems)
    return {name: shares.get(name, 0.0) for name in sources}


def predict(fitted: FittedLaw, at: Point) -> Prediction:
    """The law at a point. Raises ConfigError where that lacks something."""
    return fitted.predict(point_inputs(fitted.law, at))
