"""What conditions say of integers: differences that are at least so large, where they hold."""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

ZERO = ""
"""Stands for the number 0 where a fact is about one term alone."""


@dataclass(frozen=True)
class Linear:
    """A sum of terms (source text of a name or of `len(name)`) with signs, and a constant."""

    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()
    constant: int = 0

    def negated(self) -> "Linear":
        return Linear(self.minus, self.plus, -self.constant)

    def added(self, other: "Linear") -> "Linear":
        plus, minus = [*self.plus, *other.plus], [*self.minus, *other.minus]
        for term in list(plus):
            if term in minus:
                plus.remove(term)
                minus.remove(term)
        return Linear(tuple(plus), tuple(minus), self.constant + other.constant)


def linear(node: ast.expr) -> Linear | None:
    """None where it is no sum of terms."""
    match node:
        case ast.Constant(value=value) if type(value) is int:
            return Linear(constant=value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = linear(operand)
            return None if inner is None else inner.negated()
        case ast.BinOp(left=left, op=(ast.Add() | ast.Sub()) as operator, right=right):
            one, other = linear(left), linear(right)
            if one is None or other is None:
                return None
            return one.added(other.negated() if isinstance(operator, ast.Sub) else other)
        case ast.Name() | ast.Call(func=ast.Name(id="len"), args=[ast.Name()]):
            return Linear(plus=(ast.unparse(node),))
    return None


def names_of(term: str) -> str:
    """The variable that a term depends on."""
    return term.removeprefix("len(").removesuffix(")")


class Facts:
    """(a, b) -> k where a - b >= k holds; never changed, a new one is made."""

    def __init__(self, known: Mapping[tuple[str, str], int] | None = None) -> None:
        self._known = dict(known or {})

    def least(self, one: str, other: str) -> int | None:
        """The largest k known with one - other >= k."""
        return self._known.get((one, other))

    def without(self, names: Iterable[str]) -> Self:
        """What is left once these variables, or what they hold, may have changed."""
        gone = set(names)
        kept = {
            pair: least
            for pair, least in self._known.items()
            if not {names_of(term) for term in pair} & gone
        }
        return type(self)(kept)

    def without_lengths(self) -> Self:
        """What is left once any container may have changed its length (there are other names)."""
        kept = {
            pair: least
            for pair, least in self._known.items()
            if not any(term.startswith("len(") for term in pair)
        }
        return type(self)(kept)

    def above(self, one: str) -> list[tuple[str, int]]:
        """(other, k) with one - other >= k."""
        return [(other, least) for (term, other), least in self._known.items() if term == one]

    def with_differences(self, given: Iterable[Linear]) -> Self:
        """With sums that are at least 0; those of more than two terms say nothing here."""
        known = dict(self._known)
        for one in given:
            if len(one.plus) <= 1 and len(one.minus) <= 1 and (one.plus or one.minus):
                pair = (one.plus or (ZERO,))[0], (one.minus or (ZERO,))[0]
                known[pair] = max(known.get(pair, -one.constant), -one.constant)
        return type(self)(known)

    def with_facts(self, other: "Facts") -> "Facts":
        """What holds where both do."""
        shared = self._known.keys() & other._known.keys()
        best = {pair: max(self._known[pair], other._known[pair]) for pair in shared}
        return Facts({**self._known, **other._known, **best})

    def common(self, other: "Facts") -> "Facts":
        """What holds in both cases."""
        shared = self._known.keys() & other._known.keys()
        return Facts({pair: min(self._known[pair], other._known[pair]) for pair in shared})


def holds(test: ast.expr, is_true: bool) -> list[Linear]:
    """Sums that are at least 0 where the test is true (or, if asked, where it is false)."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return holds(operand, not is_true)
        case ast.BoolOp(op=operator, values=values):
            if isinstance(operator, ast.And) == is_true:
                return [one for value in values for one in holds(value, is_true)]
            return []
        case ast.Compare(left=left, ops=operators, comparators=others) if (
            is_true or len(operators) == 1
        ):
            pairs = zip([left, *others[:-1]], operators, others, strict=True)
            return [
                one
                for small, operator, large in pairs
                for one in _held(small, operator, large, is_true)
            ]
        case ast.Name(id=name) if is_true:  # a list that is not empty; harmless for what is none
            return [Linear((f"len({name})",), (), -1)]
    return []


def _held(left: ast.expr, operator: ast.cmpop, right: ast.expr, is_true: bool) -> list[Linear]:
    one, other = linear(left), linear(right)
    if one is None or other is None:
        return []
    rising, falling = other.added(one.negated()), one.added(other.negated())
    strict = Linear(constant=-1)
    match operator:
        case ast.Lt():
            return [rising.added(strict)] if is_true else [falling]
        case ast.LtE():
            return [rising] if is_true else [falling.added(strict)]
        case ast.Gt():
            return [falling.added(strict)] if is_true else [rising]
        case ast.GtE():
            return [falling] if is_true else [rising.added(strict)]
        case ast.Eq() if is_true:
            return [rising, falling]
        case ast.NotEq() if not is_true:
            return [rising, falling]
    return []
