"""What is iterated: comprehensions as chains of filter and map, ranges, views, copies."""

import ast
from collections.abc import Callable, Sequence

from megatron_codemix.corpus.synthesis.translation.code import (
    AND,
    Code,
    array,
    arrow,
    chained,
    index,
    infix,
    listed,
    member,
    method,
    spread,
)
from megatron_codemix.corpus.synthesis.translation.code import SUM as SUM_LEVEL
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.writing import Writing, pattern

Comprehension = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
_VALUES = (("item",), ("one",), ("each",))
_TOTALS = (("sum",), ("added",))
_MADE_BY_METHODS = ("split", "copy")


class Sequences(Writing):
    """Adds iteration to what writes."""

    def iterable(self, node: ast.expr) -> Code:
        """For `for...of` and `...`."""
        match node:
            case ast.Call(func=ast.Name(id="enumerate"), args=[items], keywords=[]):
                return method(self.array(items)[0], "entries")
            case ast.Call(func=ast.Attribute(value=held, attr="items")) if (
                self.kind(held) == "dict"
            ):
                return self.expression(held)
            case ast.Call(func=ast.Attribute(value=held, attr=("keys" | "values") as view)) if (
                self.kind(held) == "dict"
            ):
                return method(self.expression(held), view)
        match self.kind(node):
            case "dict":
                return method(self.expression(node), "keys")
            case "str" | "set":
                return self.expression(node)
            case "unknown":
                raise refused(node, f"`{ast.unparse(node)}`, whose type is not known,")
        return self.array(node)[0]

    def array(self, node: ast.expr) -> tuple[Code, bool]:
        match node:
            case ast.ListComp() | ast.GeneratorExp():
                return self.comprehension(node), True
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
                made = self._made(node, name, arguments, keywords)
                if made is not None:
                    return made, True
            case ast.Subscript(slice=ast.Slice()) | ast.List() | ast.Tuple() | ast.BinOp():
                if self.kind(node) in ("list", "tuple"):
                    return self.expression(node), True
        if self.kind(node) in ("list", "tuple"):
            is_made = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in _MADE_BY_METHODS
                and self.kind(node.func.value) in ("str", "list")
            )
            return self.expression(node), is_made
        return array(spread(self.iterable(node))), True

    def copy(self, node: ast.expr) -> Code:
        """An array that is nobody else's."""
        made, is_own = self.array(node)
        return made if is_own else array(spread(made))

    def _made(
        self,
        node: ast.expr,
        name: str,
        arguments: Sequence[ast.expr],
        keywords: Sequence[ast.keyword],
    ) -> Code | None:
        """What a built-in function makes to be iterated."""
        match name, arguments:
            case "range", _:
                return self.range(arguments)
            case "zip", _:
                return self.helper("zip", *(self.array(one)[0] for one in arguments))
            case "reversed", [items]:
                return method(self.copy(items), "reverse")
            case "enumerate", [items, *start] if start or keywords:
                begin = self.expression(start[0] if start else keywords[0].value)
                with self.temporaries("item", "i") as (item, place):
                    pair = array(infix(Code(place), "+", begin, SUM_LEVEL), Code(item))
                    return method(self.array(items)[0], "map", arrow(f"{item}, {place}", pair))
            case (("sorted" | "divmod"), _):
                return self.expression(node)
            case (("list" | "tuple"), [items]):
                return self.copy(items)
        return None

    def range(self, arguments: Sequence[ast.expr]) -> Code:
        parts = [self.expression(one) for one in arguments]
        if len(parts) == 1:
            parts = [Code("0"), *parts]
        return self.helper("range", *parts)

    def comprehension(self, node: Comprehension) -> Code:
        """An array; of pairs for a dictionary."""

        def element() -> Code:
            if isinstance(node, ast.DictComp):
                return array(self.expression(node.key), self.expression(node.value))
            return self.expression(node.elt)

        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        return self._generators(node.generators, parts, element)

    def _generators(
        self,
        generators: Sequence[ast.comprehension],
        parts: Sequence[ast.expr],
        element: Callable[[], Code],
    ) -> Code:
        """`parts`: what `element` is written from."""
        each, rest = generators[0], generators[1:]
        if (
            not rest
            and not each.ifs
            and (short := self._with_places(each, parts, element)) is not None
        ):
            return short
        base, is_own = self.filtered(each)
        if rest:
            inner = self._generators(rest, parts, element)
            return method(base, "flatMap", arrow(pattern(self, each.target), inner))
        if _is_same(each.target, parts):
            return base if is_own else array(spread(base))
        return method(base, "map", arrow(pattern(self, each.target, parts), element()))

    def _with_places(
        self, each: ast.comprehension, parts: Sequence[ast.expr], element: Callable[[], Code]
    ) -> Code | None:
        """Forms in which the place of an element comes as a second parameter."""
        match each.iter, each.target:
            case ast.Call(func=ast.Name(id="range"), args=[stop]), ast.Name(id=name):
                if _is_same(each.target, parts):
                    return self.range([stop])
                if not any(self.uses.is_used(one, name) for one in parts):
                    parameters = ""
                else:
                    parameters = f"_, {self.name(name)}"
                length = Code(f"{{ length: {self.expression(stop).text} }}")
                return Code(f"Array.from({listed(length, arrow(parameters, element()))})", 18)
            case (
                ast.Call(func=ast.Name(id="enumerate"), args=[items], keywords=[]),
                ast.Tuple(elts=[ast.Name(id=place), item]),
            ):
                parameters = f"{pattern(self, item)}, {self.name(place)}"
                return method(self.array(items)[0], "map", arrow(parameters, element()))
        return None

    def filtered(self, each: ast.comprehension) -> tuple[Code, bool]:
        """What one `for` of a comprehension goes over, without what its `if`s leave out."""
        if each.is_async:
            raise refused(each.iter, "`async for`")
        base, is_own = self.array(each.iter)
        if not each.ifs:
            return base, is_own
        test = chained("&&", [self.condition(one) for one in each.ifs], AND)
        parameter = pattern(self, each.target, each.ifs)
        return method(base, "filter", arrow(parameter, test)), True

    def quantified(self, node: ast.GeneratorExp | ast.ListComp, name: str) -> Code:
        """`any` and `all`: name is `some` or `every`."""

        def inside(generators: Sequence[ast.comprehension]) -> Code:
            each, rest = generators[0], generators[1:]
            base, _ = self.filtered(each)
            test = inside(rest) if rest else self.condition(node.elt)
            parameter = pattern(self, each.target, None if rest else [node.elt])
            return method(base, name, arrow(parameter, test))

        return inside(node.generators)

    def length_of(self, node: ast.expr) -> Code:
        if self.kind(node) in ("dict", "set"):
            return member(self.expression(node), "size")
        if self.kind(node) in ("list", "tuple", "str"):
            return member(self.expression(node), "length")
        raise refused(node, f"the length of `{ast.unparse(node)}`, whose type is not known,")

    def sum_of(self, node: ast.expr, start: ast.expr | None) -> Code:
        """`sum`: a count where ones or truths are added, else a reduction."""
        if isinstance(node, ast.GeneratorExp | ast.ListComp) and start is None:
            each, *others = node.generators
            if isinstance(node.elt, ast.Constant) and node.elt.value == 1 and not others:
                return member(self.filtered(each)[0], "length")
            if self.kind(node.elt) == "bool" and not others:
                both = ast.comprehension(each.target, each.iter, [*each.ifs, node.elt], 0)
                return member(self.filtered(both)[0], "length")
            if not others and not _is_name(node.elt, getattr(each.target, "id", "")):
                base, _ = self.filtered(each)
                return self._reduced(base, pattern(self, each.target, [node.elt]), node.elt, start)
        with self.temporaries("value", instead=_VALUES) as (value,):
            return self._reduced(self.array(node)[0], value, None, start)

    def _reduced(
        self, base: Code, parameter: str, element: ast.expr | None, start: ast.expr | None
    ) -> Code:
        with self.temporaries("total", instead=_TOTALS) as (total,):
            added = Code(parameter) if element is None else self.expression(element)
            sum_ = self.whole(infix(Code(total), "+", added, SUM_LEVEL))
            first = Code("0") if start is None else self.expression(start)
            return method(base, "reduce", arrow(f"{total}, {parameter}", sum_), first)

    def last_of(self, held: Code, distance: int) -> Code:
        """The element so many places before the end."""
        return method(held, "at", Code(f"-{distance}")) if distance else index(held, Code("0"))


def _is_same(target: ast.expr, parts: Sequence[ast.expr]) -> bool:
    """Whether what is made of an element is the element itself."""
    targets = target.elts if isinstance(target, ast.Tuple) else [target]
    if len(parts) == 1 and isinstance(parts[0], ast.Tuple):
        parts = parts[0].elts
    return len(targets) == len(parts) and all(
        isinstance(one, ast.Name) and _is_name(part, one.id)
        for one, part in zip(targets, parts, strict=True)
    )


def _is_name(node: ast.expr | None, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
