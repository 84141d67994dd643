"""What loops and comprehensions say of the names that they bind."""

import ast
import math
from collections.abc import Callable, Iterable, Sequence

from megatron_codemix.corpus.synthesis.translation.facts import Linear, linear

UNKNOWN = -math.inf
Least = Callable[[ast.expr], float]
"""The bound of an expression that was visited."""


def bound_by(target: ast.expr, items: ast.expr, least: Least) -> list[tuple[str, float]]:
    """Names that a loop or comprehension binds, with their bounds."""
    match target, items:
        case ast.Name(id=name), ast.Call(func=ast.Name(id="reversed"), args=[inner]):
            return bound_by(target, inner, least)
        case ast.Name(id=name), ast.Call(func=ast.Name(id="range"), args=arguments):
            return [(name, _range_least(arguments, least))]
        case ast.Tuple(elts=[ast.Name(id=name), other]), ast.Call(
            func=ast.Name(id="enumerate"), args=[_, *start], keywords=keywords
        ):
            begins = [*start, *(keyword.value for keyword in keywords)]
            begin = least(begins[0]) if begins else 0.0
            return [(name, begin), *((one, UNKNOWN) for one in stored([other]))]
    return [(one, UNKNOWN) for one in stored([target])]


def _range_least(arguments: Sequence[ast.expr], least: Least) -> float:
    if len(arguments) == 1:
        return 0.0
    step = linear(arguments[2]) if len(arguments) == 3 else Linear(constant=1)
    if step is None or step.plus or step.minus:
        return UNKNOWN
    start, stop = least(arguments[0]), least(arguments[1])
    return start if step.constant > 0 else stop + 1


def facts_of_target(target: ast.expr, items: ast.expr) -> list[Linear]:
    match target, items:
        case ast.Name(), ast.Call(func=ast.Name(id="reversed"), args=[inner]):
            return facts_of_target(target, inner)
        case ast.Name(id=name), ast.Call(func=ast.Name(id="range"), args=arguments):
            first, last = (
                (arguments[0], arguments[1]) if len(arguments) > 1 else (None, arguments[0])
            )
            start = Linear() if first is None else linear(first)
            stop = linear(last)
            step = linear(arguments[2]) if len(arguments) == 3 else Linear(constant=1)
            if step is None or step.plus or step.minus:
                return []
            here = Linear((name,))
            found = []
            sign = 1 if step.constant > 0 else -1
            if start is not None:
                found.append(_signed(here.added(start.negated()), sign))
            if stop is not None:
                ahead = _signed(stop.added(here.negated()), sign)
                found.append(ahead.added(Linear(constant=-1)))
            return found
        case ast.Tuple(elts=[ast.Name(id=name), _]), ast.Call(
            func=ast.Name(id="enumerate"), args=[ast.Name(id=held)], keywords=[]
        ):
            return [Linear((f"len({held})",), (name,), -1)]
    return []


def _signed(one: Linear, sign: int) -> Linear:
    return one if sign > 0 else one.negated()


def stored(nodes: Iterable[ast.AST]) -> list[str]:
    """Names that these nodes bind."""
    return [
        one.id
        for node in nodes
        for one in ast.walk(node)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    ]
