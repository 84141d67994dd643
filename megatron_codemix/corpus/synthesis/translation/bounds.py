"""The least value that an integer expression can have: it decides where `%` and an index mean the
same in JavaScript as in Python.

Each variable has one bound, found by going over the module until nothing changes (a bound that goes
on falling is given up); conditions in force add to it where they hold (`facts`). Only what is
proved is said: where nothing is known the bound is minus infinity.
"""

import ast
from collections.abc import Iterable, Mapping, Sequence

from megatron_codemix.corpus.synthesis.translation.bounded_expressions import (
    UNSEEN,
    ExpressionBounds,
)
from megatron_codemix.corpus.synthesis.translation.bounded_targets import (
    UNKNOWN,
    bound_by,
    facts_of_target,
    stored,
)
from megatron_codemix.corpus.synthesis.translation.facts import Facts, Linear, linear
from megatron_codemix.corpus.synthesis.translation.inference import Inference
from megatron_codemix.corpus.synthesis.translation.scopes import walk_here
from megatron_codemix.corpus.synthesis.translation.shape import Function, Shape


class Bounds(ExpressionBounds):
    """`least(node)` for the integer expressions of a module. `lows`: what the entry point's integer
    parameters are at least."""

    def __init__(
        self, shape: Shape, inference: Inference, entry: str, lows: Mapping[str, int]
    ) -> None:
        super().__init__(shape, inference)
        self._stored: dict[int, frozenset[str]] = {}
        """By loop: the names that it binds, with all that is in it."""
        for name, _ in shape.functions[entry].parameters if entry in shape.functions else ():
            self._lower(shape.functions[entry], name, lows.get(name, UNKNOWN))
        while self._has_changed:
            self._has_changed = False
            self._patience -= 1
            self._module()

    def _module(self) -> None:
        self._block(self._shape.constants, Facts())
        for one in self._shape.classes.values():
            for method in one.methods.values():
                self._unknown_parameters(method)
                self._function(method)
        for function in self._shape.functions.values():
            self._function(function)

    def _function(self, function: Function) -> None:
        self._functions.append(function)
        for name, default in function.defaults.items():
            self._lower(function, name, self._visit(default, Facts()))
        self._block(function.node.body, Facts())
        self._functions.pop()

    def _block(self, body: Sequence[ast.stmt], facts: Facts) -> Facts | None:
        """Facts after it; None where its end is not reached."""
        now: Facts | None = facts
        for node in body:
            if now is None:
                now = Facts()  # code that is not reached is still written
            now = self._statement(node, now)
        return now

    def _statement(self, node: ast.stmt, facts: Facts) -> Facts | None:
        match node:
            case ast.Assign(targets=targets, value=value):
                least = self._visit(value, facts)
                facts = self._after(value, facts)
                for target in targets:
                    facts = self._store(target, value, least, facts)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                facts = self._store(target, value, self._visit(value, facts), facts)
            case ast.AugAssign(target=target, op=operator, value=value):
                return self._augmented(target, operator, value, facts)
            case ast.Expr(value=value):
                self._visit(value, facts)
                return self._after(value, facts)
            case ast.Return(value=value):
                if value is not None:
                    self._return(self._visit(value, facts))
                return None
            case ast.Break() | ast.Continue():
                return None
            case ast.Delete(targets=targets):
                for target in targets:
                    self._visit(target, facts)
                return facts.without_lengths()
            case ast.FunctionDef():
                self._function(self._inference.nested[id(node)])
            case ast.If() | ast.While() | ast.For():
                return self._compound(node, facts)
        return facts

    def _compound(self, node: ast.If | ast.While | ast.For, facts: Facts) -> Facts | None:
        if isinstance(node, ast.If):
            self._visit(node.test, facts)
            facts = self._after(node.test, facts)
            one = self._block(node.body, self._given(node.test, True, facts))
            other = self._block(node.orelse, self._given(node.test, False, facts))
            if one is None or other is None:
                return one or other
            return one.common(other)
        entered = self._unchanged_by(node, facts)
        if isinstance(node, ast.While):
            self._visit(node.test, entered)
            entered = self._after(node.test, entered)
            self._block(node.body, self._given(node.test, True, entered))
            is_left_by_test = not any(isinstance(one, ast.Break) for one in walk_here(node.body))
            return self._given(node.test, False, entered) if is_left_by_test else entered
        self._visit(node.iter, facts)
        self._bind(node.target, node.iter, facts)
        around = Facts().with_differences(facts_of_target(node.target, node.iter))
        kept = self._unchanged_by(node, around, but=stored([node.target]))
        if set(stored([node.target])) & set(stored(node.body)):
            kept = Facts()
        self._block(node.body, entered.with_facts(kept))
        return entered

    def _unchanged_by(
        self, node: ast.While | ast.For, facts: Facts, but: Iterable[str] = ()
    ) -> Facts:
        """What still holds in any round of a loop."""
        if id(node) not in self._stored:
            self._stored[id(node)] = frozenset(stored([node]))
        return self._after(node, facts.without(self._stored[id(node)] - set(but)))

    def _augmented(
        self, target: ast.expr, operator: ast.operator, value: ast.expr, facts: Facts
    ) -> Facts:
        now, given = self._visit(target, facts), self._visit(value, facts)
        facts = self._after(value, facts)
        if not isinstance(target, ast.Name):
            return facts.without_lengths()
        made = ast.BinOp(left=target, op=operator, right=value)
        if self._inference.kind(target) not in ("int", "bool"):
            return facts.without([target.id]).without_lengths()
        self._lower(self._holder(target.id), target.id, self._operation(made, now, given, facts))
        return facts.without([target.id])

    def _store(self, target: ast.expr, value: ast.expr, least: float, facts: Facts) -> Facts:
        match target, value:
            case ast.Name(id=name), _:
                self._lower(self._holder(name), name, least)
                facts = facts.without([name])
                sum_ = linear(value) if self._inference.kind(target) == "int" else None
                if sum_ is not None and name not in sum_.plus + sum_.minus:
                    rest = Linear((name,)).added(sum_.negated())
                    return facts.with_differences([rest, rest.negated()])
                return facts
            case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
                leasts = [self._visit(one, facts) for one in values]
                for one, bound in zip(targets, leasts, strict=True):
                    self._store_bound(one, bound)
            case ast.Tuple(elts=[one, other]), ast.Call(
                func=ast.Name(id="divmod"), args=[number, divisor]
            ):
                is_positive = self.least(divisor) >= 1
                self._store_bound(one, 0.0 if is_positive and self.least(number) >= 0 else UNKNOWN)
                self._store_bound(other, 0.0 if is_positive else UNKNOWN)
            case ast.Subscript(value=held, slice=index), _:
                self._visit(held, facts)
                self._visit(index, facts)
                return facts if self._inference.kind(held) == "list" else facts.without_lengths()
            case _:
                self._store_bound(target, UNKNOWN)
        return facts.without(stored([target]))

    def _store_bound(self, target: ast.expr, least: float) -> None:
        match target:
            case ast.Name(id=name):
                self._lower(self._holder(name), name, least)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for one in elements:
                    self._store_bound(one, UNKNOWN)
            case ast.Subscript(value=held, slice=index):
                self._visit(held, Facts())
                self._visit(index, Facts())

    def _return(self, least: float) -> None:
        key = id(self._functions[-1].node)
        if least < self._returns.get(key, UNSEEN):
            self._returns[key] = least if self._patience > 0 else UNKNOWN
            self._has_changed = True

    def _bind(self, target: ast.expr, items: ast.expr, facts: Facts) -> None:
        for one, least in bound_by(target, items, self.least):
            self._lower(self._holder(one), one, least)
