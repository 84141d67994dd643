"""Small errors put into a program, one at a time: what good tests must notice.

Sites are found on the instrumented tree. Applying one changes the tree in place and returns what
takes it back, so that a program is parsed once for all its mutants.
"""

import ast
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

Undo = Callable[[], None]

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),  # codespell:ignore
    ast.NotIn: (ast.In,),  # codespell:ignore
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mod: ast.FloorDiv,
    ast.FloorDiv: ast.Mod,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "_times_": "_plus_",
              "_power_": "_times_"}  # fmt: skip
_METHODS = {"append": "pop", "startswith": "endswith", "endswith": "startswith", "upper": "lower",
            "lower": "upper", "keys": "values", "values": "keys"}  # fmt: skip
_OWN_NAMES = ("_tick_",)
ALWAYS, NEVER = "condition always true", "condition never true"
DECISIVE = (ALWAYS, NEVER)
"""What must make a difference if a condition is to decide anything."""


class Site(NamedTuple):
    what: str
    line: int
    apply: Callable[[], Undo]


def plus(one: Any, other: Any) -> Any:
    """What a product is mutated to; bound to `_plus_`."""
    return one + other


def sites(tree: ast.Module) -> list[Site]:
    """All places of a program where a mutation makes sense, in order of the source."""
    memos = {id(test) for test in _memo_tests(tree)}
    found: list[Site] = []
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            for node in _inner_nodes(statement):
                is_memo = isinstance(node, ast.If) and id(node.test) in memos
                found += [one for one in _sites_of(node) if not (is_memo and one.what == ALWAYS)]
    return found


def _memo_tests(tree: ast.Module) -> Iterator[ast.expr]:
    """`key not in known` with `return known[key]` behind what it guards: to work it out each time
    gives the same, only more slowly, so that no test could notice."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement, following in pairwise(body if isinstance(body, list) else []):
            match statement, following:
                case (
                    ast.If(
                        test=ast.Compare(
                            left=key,
                            ops=[ast.NotIn()],  # codespell:ignore
                            comparators=[known],
                        ) as test,
                        orelse=[],
                    ),
                    ast.Return(value=ast.Subscript(value=read, slice=place)),
                ) if (ast.dump(key), ast.dump(known)) == (ast.dump(place), ast.dump(read)):
                    yield test


def _inner_nodes(root: ast.AST) -> Iterator[ast.AST]:
    """In order, without annotations, decorators, defaults and docstrings."""
    yield root
    for name, value in ast.iter_fields(root):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(
            root, ast.Call
        ):
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, ast.AST) and not _is_left_alone(one):
                yield from _inner_nodes(one)


def _is_left_alone(node: ast.AST) -> bool:
    """A docstring, or a tick."""
    if isinstance(node, ast.Expr):
        node = node.value
        if isinstance(node, ast.Constant):
            return True
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _OWN_NAMES
    )


def _sites_of(node: ast.AST) -> Iterator[Site]:
    match node:
        case ast.Compare(ops=ops):
            for place, operator in enumerate(ops):
                for other in _COMPARISONS.get(type(operator), ()):
                    changed = [*ops[:place], other(), *ops[place + 1 :]]
                    yield _site(node, "ops", changed, f"{_name(operator)} to {other.__name__}")
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator):
            if type(operator) in _OPERATORS:
                other_operator = _OPERATORS[type(operator)]
                what = f"{_name(operator)} to {other_operator.__name__}"
                yield _site(node, "op", other_operator(), what)
        case ast.BoolOp(op=operator):
            other_word = ast.Or if isinstance(operator, ast.And) else ast.And
            yield _site(node, "op", other_word(), f"{_name(operator)} to {other_word.__name__}")
        case ast.UnaryOp(op=ast.Not(), operand=ast.expr() as operand):
            yield _site(node, "operand", ast.UnaryOp(ast.Not(), operand), "not left out")
        case ast.UnaryOp(op=ast.USub()):
            yield _site(node, "op", ast.UAdd(), "sign left out")
        case ast.Constant(value=value):
            yield from _constants(node, value)
        case ast.If() | ast.IfExp() | ast.While():
            yield from _conditions(node)
        case ast.comprehension(ifs=ifs):
            for place, test in enumerate(ifs):
                if not _is_left_alone(test):
                    always = [*ifs[:place], _constant(True), *ifs[place + 1 :]]
                    yield _site(node, "ifs", always, ALWAYS, test)
        case ast.Call():
            yield from _calls(node)
        case ast.Slice():
            for name in ("lower", "upper"):
                bound = getattr(node, name)
                if bound is not None and not isinstance(bound, ast.Constant):
                    yield _site(node, name, _shifted(bound), f"{name} bound off by one", bound)
        case ast.For() | ast.FunctionDef():
            pass
    yield from _statements(node)


def _constants(node: ast.Constant, value: Any) -> Iterator[Site]:
    if isinstance(value, bool):
        yield _site(node, "value", not value, f"{value} to {not value}")
    elif isinstance(value, int):
        yield _site(node, "value", value + 1, f"{value} to {value + 1}")
        yield _site(node, "value", value - 1, f"{value} to {value - 1}")
    elif isinstance(value, str):
        changed = value + "x" if len(value) != 1 else chr(ord(value) ^ 1)
        yield _site(node, "value", changed, f"{value!r} to {changed!r}")


def _conditions(node: ast.If | ast.IfExp | ast.While) -> Iterator[Site]:
    inverted = ast.UnaryOp(ast.Not(), node.test)
    yield _site(node, "test", inverted, "condition inverted", node.test)
    if not isinstance(node, ast.While):
        yield _site(node, "test", _constant(True), ALWAYS, node.test)
    yield _site(node, "test", _constant(False), NEVER, node.test)


def _calls(node: ast.Call) -> Iterator[Site]:
    match node.func:
        case ast.Name(id=name) as function:
            if name in _FUNCTIONS:
                yield _site(function, "id", _FUNCTIONS[name], f"{name} to {_FUNCTIONS[name]}", node)
            if name == "range" and node.args:
                place = 0 if len(node.args) == 1 else 1
                for amount in (1, -1):
                    arguments = list(node.args)
                    arguments[place] = _shifted(arguments[place], amount)
                    yield _site(node, "args", arguments, f"range ends {amount:+d}")
            if name in ("abs", "sorted", "reversed") and len(node.args) == 1:
                instead = "list" if name != "abs" else "int"
                yield _site(function, "id", instead, f"{name} left out", node)
        case ast.Attribute(attr=name) as method if name in _METHODS and name != "append":
            yield _site(method, "attr", _METHODS[name], f"{name} to {_METHODS[name]}", node)


def _statements(node: ast.AST) -> Iterator[Site]:
    """Statements that can be left out without an undefined name."""
    for name in ("body", "orelse"):
        body = getattr(node, name, None)
        if not isinstance(body, list):
            continue
        for place, statement in enumerate(body):
            is_removable = isinstance(statement, ast.AugAssign | ast.Break | ast.Continue) or (
                isinstance(statement, ast.Expr) and not _is_left_alone(statement)
            )
            if is_removable:
                changed = [*body[:place], ast.copy_location(ast.Pass(), statement)]
                changed += body[place + 1 :]
                yield _site(node, name, changed, "statement left out", statement)


def _shifted(expression: ast.expr, amount: int = 1) -> ast.expr:
    operator = ast.Add() if amount > 0 else ast.Sub()
    return ast.BinOp(expression, operator, ast.Constant(abs(amount)))


def _constant(value: bool) -> ast.Constant:
    return ast.Constant(value)


def _name(operator: ast.AST) -> str:
    return type(operator).__name__


def _site(node: ast.AST, name: str, value: Any, what: str, located: ast.AST | None = None) -> Site:
    place = located or node
    line = getattr(place, "lineno", 0)

    def apply() -> Undo:
        before = getattr(node, name)
        setattr(node, name, value)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, ast.AST):
                _locate(one, place)
        return lambda: setattr(node, name, before)

    return Site(what, line, apply)


def _locate(root: ast.AST, place: ast.AST) -> None:
    """Gives new nodes the location of the old one; those that have one keep it."""
    for node in ast.walk(root):
        if "lineno" in node._attributes and not hasattr(node, "lineno"):
            ast.copy_location(node, place)
            if not hasattr(node, "lineno"):
                node.lineno = node.end_lineno = 1  # type: ignore[attr-defined]  # it has the attribute
                node.col_offset = node.end_col_offset = 0  # type: ignore[attr-defined]
