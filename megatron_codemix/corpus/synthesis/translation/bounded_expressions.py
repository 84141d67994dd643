"""Bounds of expressions, given those of the variables and what conditions say (`bounds`)."""

import ast
import math
from collections.abc import Sequence
from typing import Literal

from megatron_codemix.corpus.synthesis.translation.bounded_targets import (
    UNKNOWN,
    bound_by,
    facts_of_target,
    stored,
)
from megatron_codemix.corpus.synthesis.translation.facts import ZERO, Facts, Linear, holds, linear
from megatron_codemix.corpus.synthesis.translation.inference import Inference
from megatron_codemix.corpus.synthesis.translation.scopes import bound_names
from megatron_codemix.corpus.synthesis.translation.shape import Function, Shape

UNSEEN = math.inf
_PATIENCE = 4
"""Passes after which a bound that still falls is given up."""


class ExpressionBounds:
    """Visits expressions and keeps their bounds; what they say of functions that they call, too."""

    def __init__(self, shape: Shape, inference: Inference) -> None:
        self._shape = shape
        self._inference = inference
        self._least: dict[int, float] = {}
        self._variables: dict[tuple[int, str], float] = {}
        self._returns: dict[int, float] = {}
        self._names: dict[int, set[str]] = {}
        """Of each function: what it binds."""
        self._effects: dict[int, str] = {}
        """Of each node: what running it may change (`_effect`)."""
        self._functions: list[Function] = []
        """Around the expression at hand, from the outside in."""
        self._locals: list[dict[str, float]] = []
        """Names of comprehensions and lambdas around it."""
        self._has_changed = True
        self._patience = _PATIENCE

    def least(self, node: ast.expr) -> float:
        """Minus infinity where nothing is known."""
        return self._least.get(id(node), UNKNOWN)

    # Variables.

    def _lower(self, function: Function | None, name: str, least: float) -> None:
        """A variable may be as low as this."""
        key = (id(function.node) if function else 0, name)
        now = self._variables.get(key, UNSEEN)
        if least < now:
            self._variables[key] = least if self._patience > 0 else UNKNOWN
            self._has_changed = True

    def _holder(self, name: str) -> Function | None:
        """The function around that binds a name."""
        for function in reversed(self._functions):
            if name in self._bound_by_function(function):
                return function
        return None

    def _bound_by_function(self, function: Function) -> set[str]:
        key = id(function.node)
        if key not in self._names:
            names = {name for name, _ in function.parameters} | set(bound_names(function.node.body))
            self._names[key] = names
        return self._names[key]

    def _variable(self, name: str, facts: Facts) -> float:
        for names in reversed(self._locals):
            if name in names:
                return max(names[name], self._by_facts(name, facts))
        holder = self._holder(name)
        key = (id(holder.node) if holder else 0, name)
        return max(self._variables.get(key, UNSEEN), self._by_facts(name, facts))

    def _by_facts(self, term: str, facts: Facts) -> float:
        found = [UNKNOWN]
        for other, least in facts.above(term):
            if other == ZERO:
                found.append(least)
            elif other.startswith("len("):
                found.append(max(0, facts.least(other, ZERO) or 0) + least)
            else:
                direct = facts.least(other, ZERO)
                flat = self._flat(other)
                found.append(max(flat, UNKNOWN if direct is None else direct) + least)
        return max(found)

    def _flat(self, name: str) -> float:
        """A variable's bound without facts."""
        return self._variable(name, Facts())

    def _term(self, term: str, facts: Facts) -> float:
        if term.startswith("len("):
            return max(0.0, self._by_facts(term, facts))
        return self._variable(term, facts)

    def _unknown_parameters(self, function: Function) -> None:
        for name, _ in function.parameters:
            self._lower(function, name, UNKNOWN)

    def _after(self, node: ast.AST, facts: Facts) -> Facts:
        """What holds once an expression was evaluated: calls may change containers, and nested
        functions anything."""
        if id(node) not in self._effects:
            self._effects[id(node)] = self._effect(node)
        match self._effects[id(node)]:
            case "anything":
                return Facts()
            case "lengths":
                return facts.without_lengths()
        return facts

    def _effect(self, node: ast.AST) -> Literal["nothing", "lengths", "anything"]:
        """What evaluating a node, or running it with all that is in it, may change besides the
        variables that it names as targets."""
        found: Literal["nothing", "lengths"] = "nothing"
        for one in ast.walk(node):
            match one:
                case ast.Call(func=ast.Name(id=name)) if self._holder(name) is not None:
                    return "anything"
                case ast.Delete() | ast.Call(func=ast.Attribute()):
                    found = "lengths"
                case ast.Call(func=ast.Name(id=name)) if name in self._shape.functions:
                    found = "lengths"
                case ast.AugAssign(target=target) if self._inference.kind(target) != "int":
                    found = "lengths"
        return found

    def _given(self, test: ast.expr, is_true: bool, facts: Facts) -> Facts:
        """With what a condition says where it holds (or does not)."""
        found = holds(test, is_true)
        match test, is_true:
            case (ast.Name(), True) if self._inference.kind(test) == "int":
                found += self._above_zero(test)
            case (
                ast.Compare(left=left, ops=[ast.NotEq()], comparators=[ast.Constant(value=0)]),
                True,
            ):
                found += self._above_zero(left)
            case (
                ast.Compare(left=left, ops=[ast.Eq()], comparators=[ast.Constant(value=0)]),
                False,
            ):
                found += self._above_zero(left)
            case (ast.UnaryOp(op=ast.Not(), operand=ast.Name() as name), False):
                found += self._above_zero(name)
        return facts.with_differences(found)

    def _above_zero(self, node: ast.expr) -> list[Linear]:
        """Of what is not zero: at least 1 where it is at least 0."""
        terms = linear(node)
        if terms is None or self._inference.kind(node) != "int" or self.least(node) < 0:
            return []
        return [terms.added(Linear(constant=-1))]

    def _visit(self, node: ast.expr, facts: Facts) -> float:
        found = self._expression(node, facts)
        self._least[id(node)] = found
        return found

    def _expression(self, node: ast.expr, facts: Facts) -> float:
        match node:
            case ast.Constant(value=value):
                return value if isinstance(value, int) else UNKNOWN
            case ast.Name(id=name):
                if name in self._shape.functions:
                    self._unknown_parameters(self._shape.functions[name])
                return self._variable(name, facts)
            case ast.BinOp(left=left, right=right):
                one, other = self._visit(left, facts), self._visit(right, facts)
                return self._operation(node, one, other, facts)
            case ast.BoolOp(op=operator, values=values):
                found, now = [], facts
                for each in values:
                    found.append(self._visit(each, now))
                    now = self._given(each, isinstance(operator, ast.And), self._after(each, now))
                return min(found)
            case ast.IfExp(test=test, body=body, orelse=other):
                self._visit(test, facts)
                one = self._visit(body, self._given(test, True, facts))
                return min(one, self._visit(other, self._given(test, False, facts)))
            case ast.UnaryOp(op=operator, operand=operand):
                self._visit(operand, facts)
                sum_ = linear(node)
                if isinstance(operator, ast.Not):
                    return 0.0
                return UNKNOWN if sum_ is None else self._sum(sum_, facts)
            case ast.Compare(left=left, comparators=others):
                for each in (left, *others):
                    self._visit(each, facts)
                return 0.0
            case ast.Call():
                return self._call(node, facts)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node, facts)
            case ast.Lambda(args=arguments, body=body):
                names = {one.arg: UNKNOWN for one in arguments.args}
                self._locals.append(names)
                self._visit(body, facts.without(names))
                self._locals.pop()
                return UNKNOWN
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._visit(child, facts)
        return UNKNOWN

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, facts: Facts
    ) -> float:
        """The bound of what it gives."""
        names: dict[str, float] = {}
        self._locals.append(names)
        now = facts.without(stored([each.target for each in node.generators]))
        for each in node.generators:
            self._visit(each.iter, now)
            names.update(bound_by(each.target, each.iter, self.least))
            now = now.with_differences(facts_of_target(each.target, each.iter))
            for test in each.ifs:
                self._visit(test, now)
                now = self._given(test, True, now)
        elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        found = [self._visit(one, now) for one in elements]
        self._locals.pop()
        return found[-1]

    def _call(self, node: ast.Call, facts: Facts) -> float:
        given = [self._visit(one, facts) for one in node.args]
        for keyword in node.keywords:
            self._visit(keyword.value, facts)
        match node.func:
            case ast.Attribute(value=receiver, attr=method):
                self._visit(receiver, facts)
                return {"index": 0.0, "count": 0.0, "find": -1.0}.get(method, UNKNOWN)
            case ast.Name(id=name):
                holder = self._holder(name)
                if holder is None and name in self._shape.functions:
                    return self._own_call(self._shape.functions[name], node, given)
                if holder is not None:
                    nested = [
                        one for one in self._inference.nested.values() if one.node.name == name
                    ]
                    if len(nested) == 1:
                        return self._own_call(nested[0], node, given)
                    for one in nested:
                        self._unknown_parameters(one)
                    return UNKNOWN
                return self._builtin(name, node, given, facts)
        return UNKNOWN

    def _own_call(self, function: Function, node: ast.Call, given: Sequence[float]) -> float:
        for (name, _), least in zip(function.parameters, given, strict=False):
            self._lower(function, name, least)
        for keyword in node.keywords:
            self._lower(function, keyword.arg or "", self.least(keyword.value))
        return self._returns.get(id(function.node), UNSEEN)

    def _builtin(self, name: str, node: ast.Call, given: Sequence[float], facts: Facts) -> float:
        match name:
            case "len":
                sum_ = linear(node)
                return 0.0 if sum_ is None else max(0.0, self._sum(sum_, facts))
            case "abs" | "ord":
                return max(0.0, given[0])
            case "bool":
                return 0.0
            case "int" if self._inference.kind(node.args[0]) in ("int", "bool"):
                return given[0]
            case "min" if len(given) > 1 and not node.keywords:
                return min(given)
            case "max" if len(given) > 1 and not node.keywords:
                return max(given)
            case "sum" | "max" | "min" if isinstance(node.args[0], ast.GeneratorExp | ast.ListComp):
                least = min([given[0], *(self.least(one.value) for one in node.keywords)])
                return (0.0 if least >= 0 else UNKNOWN) if name == "sum" else least
        return UNKNOWN

    def _operation(self, node: ast.BinOp, one: float, other: float, facts: Facts) -> float:
        match node.op:
            case ast.Add():
                return max(one + other, self._sum(linear(node), facts))
            case ast.Sub():
                return self._sum(linear(node), facts)
            case ast.Mult() if one >= 0 and other >= 0:
                return 0.0 if 0 in (one, other) else one * other
            case ast.FloorDiv() if other >= 1:
                by = node.right.value if isinstance(node.right, ast.Constant) else None
                if isinstance(by, int) and math.isfinite(one):
                    return float(one // by)
                return 0.0 if one >= 0 else UNKNOWN
            case ast.Mod() if other >= 1:
                return 0.0
            case ast.Pow():
                power = node.right.value if isinstance(node.right, ast.Constant) else 1
                if one >= 1 or one >= 0 or (isinstance(power, int) and power % 2 == 0):
                    return 1.0 if one >= 1 else 0.0
        return UNKNOWN

    def _sum(self, given: Linear | None, facts: Facts) -> float:
        """Each term that is taken away has to be met by one that is known to be so much larger."""
        if given is None:
            return UNKNOWN
        total, plus = float(given.constant), list(given.plus)
        for term in given.minus:
            met = [(facts.least(one, term), one) for one in plus]
            known = [(least, one) for least, one in met if least is not None]
            if not known:
                return UNKNOWN
            least, one = max(known)
            plus.remove(one)
            total += least
        return total + sum(self._term(one, facts) for one in plus)
