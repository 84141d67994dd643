"""One way to say a thing: forms that differ for Python's reader only become one before the rest.

`map` and `filter` become generators, a function handed over by name becomes a lambda, and `list` or
`set` around a generator becomes the comprehension.
"""

import ast
from itertools import chain, count

_COMPREHENSIONS: dict[str, type[ast.ListComp] | type[ast.SetComp]] = {
    "list": ast.ListComp,
    "tuple": ast.ListComp,
    "set": ast.SetComp,
    "frozenset": ast.SetComp,
}
_TAKE_KEY = ("sorted", "min", "max", "sort")


def parse(source: str) -> ast.Module:
    """The tree of a solution; nodes keep their lines."""
    tree = ast.parse(source)
    _Desugar(_free_name(tree)).visit(tree)
    return ast.fix_missing_locations(tree)


def _free_name(tree: ast.Module) -> str:
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names = chain(("item", "element"), map("item_{}".format, count(2)))
    return next(one for one in names if one not in used)


class _Desugar(ast.NodeTransformer):
    """`name`: for parameters of lambdas that are made; nothing else in the module has it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        called = node.func
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        if name in _TAKE_KEY:
            for keyword in node.keywords:
                if keyword.arg == "key":
                    keyword.value = self._as_lambda(keyword.value)
        if not isinstance(called, ast.Name) or node.keywords:
            return node
        match name, node.args:
            case "map", [function, items]:
                return ast.copy_location(self._mapped(function, items), node)
            case "filter", [ast.Constant(value=None), items]:
                return ast.copy_location(self._filtered(None, items), node)
            case "filter", [function, items]:
                return ast.copy_location(self._filtered(function, items), node)
            case (("list" | "tuple" | "set" | "frozenset"), [ast.GeneratorExp() as generator]):
                made = _COMPREHENSIONS[name](elt=generator.elt, generators=generator.generators)
                return ast.copy_location(made, node)
            case "dict", [ast.GeneratorExp(elt=ast.Tuple(elts=[key, value])) as generator]:
                pairs = ast.DictComp(key=key, value=value, generators=generator.generators)
                return ast.copy_location(pairs, node)
        return node

    def _as_lambda(self, function: ast.expr) -> ast.Lambda:
        if isinstance(function, ast.Lambda):
            return function
        parameter = ast.Name(id=self._name, ctx=ast.Load())
        match function:
            case ast.Attribute(value=ast.Name(id="str"), attr=method):  # str.lower
                attribute = ast.Attribute(value=parameter, attr=method, ctx=ast.Load())
                body = ast.Call(func=attribute, args=[], keywords=[])
            case _:
                body = ast.Call(func=function, args=[parameter], keywords=[])
        made = ast.Lambda(args=_one_argument(self._name), body=body)
        return ast.copy_location(made, function)

    def _mapped(self, function: ast.expr, items: ast.expr) -> ast.GeneratorExp:
        made = self._as_lambda(function)
        target = ast.Name(id=made.args.args[0].arg, ctx=ast.Store())
        each = ast.comprehension(target=target, iter=items, ifs=[], is_async=0)
        return ast.GeneratorExp(elt=made.body, generators=[each])

    def _filtered(self, function: ast.expr | None, items: ast.expr) -> ast.GeneratorExp:
        if function is None:
            name = self._name
            test: ast.expr = ast.Name(id=name, ctx=ast.Load())
        else:
            made = self._as_lambda(function)
            name, test = made.args.args[0].arg, made.body
        target = ast.Name(id=name, ctx=ast.Store())
        each = ast.comprehension(target=target, iter=items, ifs=[test], is_async=0)
        return ast.GeneratorExp(elt=ast.Name(id=name, ctx=ast.Load()), generators=[each])


def _one_argument(name: str) -> ast.arguments:
    return ast.arguments(
        posonlyargs=[],
        args=[ast.arg(arg=name)],
        kwonlyargs=[],
        kw_defaults=[],
        defaults=[],
    )
