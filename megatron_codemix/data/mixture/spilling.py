"""Who takes over the weight of a source that has reached its `max_epochs`."""

import math
from collections.abc import Mapping

SpillTo = Mapping[str, tuple[str, ...]]
"""Exhausted source -> its `spill_to`."""


def takers(name: str, exhausted: SpillTo, passed: tuple[str, ...] = ()) -> list[str]:
    """Those of an exhausted source's `spill_to` that its weight goes to: the ones that are not
    exhausted; where all are, the ones that hand it on to somebody. Empty: nobody is left.

    passed: sources that have handed the weight on, so that it does not go round in a circle.
    """
    passed = (*passed, name)
    targets = [target for target in exhausted[name] if target not in passed]
    live = [target for target in targets if target not in exhausted]
    return live or [target for target in targets if takers(target, exhausted, passed)]


def spilled(weights: Mapping[str, float], exhausted: SpillTo) -> dict[str, float]:
    """The weights with those of exhausted sources given to the ones that take over, in proportion
    to their own weights, in equal parts where they have none. What nobody takes over is lost."""
    result = {name: weight for name, weight in weights.items() if name not in exhausted}

    def hand_on(name: str, weight: float, passed: tuple[str, ...]) -> None:
        targets = takers(name, exhausted, passed)
        own = {target: weights.get(target, 0.0) for target in targets}
        total = math.fsum(own.values())
        for target, target_weight in own.items():
            share = target_weight / total if total else 1 / len(targets)
            if target in exhausted:
                hand_on(target, weight * share, (*passed, name))
            else:
                result[target] = result.get(target, 0.0) + weight * share

    for name in exhausted:
        hand_on(name, weights.get(name, 0.0), ())
    return result


def chain_of(name: str, exhausted: SpillTo) -> list[str]:
    """Every source that the weight of `name` could have gone to by way of exhausted ones, in the
    order in which they are come to; `name` itself left out."""
    found = [name]
    for source in found:  # grows
        found += [target for target in exhausted.get(source, ()) if target not in found]
    return found[1:]
