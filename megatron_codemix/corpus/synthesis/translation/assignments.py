"""Assignments of all kinds, as lines without the indentation of what is around."""

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from megatron_codemix.corpus.synthesis.translation.code import (
    Code,
    array,
    method,
    spread,
)
from megatron_codemix.corpus.synthesis.translation.declarations import (
    Declarations,
)
from megatron_codemix.corpus.synthesis.translation.loops import Loops
from megatron_codemix.corpus.synthesis.translation.refusal import refused
from megatron_codemix.corpus.synthesis.translation.writing import is_ignored, pattern

_SYMBOLS: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Pow: "**", ast.Mod: "%",
}  # fmt: skip


class Assignments(Loops):
    """Adds assignments to what writes."""

    _declared = Declarations()

    def _assignments(
        self, node: ast.stmt, targets: Sequence[ast.expr], value: ast.expr
    ) -> list[str]:
        if len(targets) == 1:
            return self._assigned(node, targets[0], value)
        if not all(isinstance(one, ast.Name) for one in targets):
            raise refused(node)
        first, *others = targets
        lines = self._assigned(node, first, value)
        again = value if isinstance(value, ast.Constant) else first
        for one in others:
            lines += self._stored(node, one, self.expression(again))
        return lines

    def _assigned(self, node: ast.stmt, target: ast.expr, value: ast.expr) -> list[str]:
        match target, value:
            case ast.Name(id=name), ast.Call(
                func=ast.Attribute(value=held, attr="pop"), args=[key]
            ) if self.kind(held) == "dict" and not self.uses.is_used(value, name):
                with self._kept("key", key) as lines:
                    lines += self._stored(node, target, self.subscript_of(held, key))
                    return [*lines, f"{self._removed(held, key)};"]
        if not isinstance(target, ast.Tuple | ast.List):
            return self._stored(node, target, self.expression(value))
        parts = self._parts(target, value)
        names = stored_names(target)
        is_apart = not any(
            isinstance(one, ast.Name) and one.id in names for one in ast.walk(value)
        ) and all(isinstance(one, ast.Name) for one in target.elts)
        if parts is not None and is_apart:
            pairs = zip(target.elts, parts, strict=True)
            return [
                line
                for one, part in pairs
                if not is_ignored(one)
                for line in self._stored(node, one, part)
            ]
        for one in target.elts:
            if isinstance(one, ast.Subscript) and self.kind(one.value) == "dict":
                raise refused(node)
        whole = self.expression(value) if parts is None else array(*parts)
        keywords = {name: self._declared.keyword(node, name) for name in names}
        if keywords and None not in keywords.values():
            keyword = "const" if set(keywords.values()) == {"const"} else "let"
            return [f"{keyword} {self._pattern(target)} = {whole.text};"]
        declared = [f"let {self.name(one)};" for one, keyword in keywords.items() if keyword]
        return [*declared, f"{self._pattern(target)} = {whole.text};"]

    def _parts(self, target: ast.Tuple | ast.List, value: ast.expr) -> list[Code] | None:
        """What each of the targets is given, where the value says so one by one."""
        match value:
            case ast.Tuple(elts=values) if len(values) == len(target.elts):
                return [self.expression(one) for one in values]
            case ast.Call(func=ast.Name(id="divmod") as function) if not self.is_own(function):
                return list(self.halves(value))
        return None

    def _pattern(self, target: ast.expr) -> str:
        match target:
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                parts = ["" if is_ignored(one) else self._pattern(one) for one in elements]
                return f"[{', '.join(parts).rstrip(', ')}]"
            case ast.Subscript(value=held, slice=at) if not isinstance(at, ast.Slice):
                return self.place(self.expression(held), at).text
        return pattern(self, target)

    def _stored(self, node: ast.stmt, target: ast.expr, value: Code) -> list[str]:
        match target:
            case ast.Name(id="_"):
                return [f"{value.text};"]
            case ast.Name(id=name):
                keyword = self._declared.keyword(node, name)
                declared = "" if keyword is None else f"{keyword} "
                return [f"{declared}{self.name(name)} = {value.text};"]
            case ast.Subscript(slice=ast.Slice()):
                raise refused(target, "an assignment to a slice")
            case ast.Subscript(value=held, slice=at) if self.kind(held) == "dict":
                key = self.expression(at)
                return [f"{method(self.expression(held), 'set', key, value).text};"]
            case ast.Subscript(value=held, slice=at):
                return [f"{self.place(self.expression(held), at).text} = {value.text};"]
            case ast.Attribute():
                return [f"{self.expression(target).text} = {value.text};"]
        raise refused(target)

    def _augmented(self, node: ast.AugAssign) -> list[str]:
        target, operator, value = node.target, node.op, node.value
        kind = self.kind(target)
        if kind == "list" and isinstance(operator, ast.Add):
            given = spread(self.iterable(value))
            return [f"{method(self.expression(target), 'push', given).text};"]
        if kind == "set" and isinstance(operator, ast.BitOr):
            return self._updated(target, value)
        if kind not in ("int", "bool", "str"):
            raise refused(node)
        if isinstance(target, ast.Subscript) and self.kind(target.value) == "dict":
            with self._kept("key", target.slice) as lines:
                applied = self.applied(node, target, operator, value)
                return [*lines, *self._stored(node, target, applied)]
        place = self.expression(target)
        if isinstance(target, ast.Subscript):
            place = self.place(self.expression(target.value), target.slice)
        is_signed = isinstance(operator, ast.Mod) and not self.is_plain(
            node, (target, 0), (value, 1)
        )
        is_signed = is_signed or (
            kind != "str" and not self.is_product_plain(node, target, operator, value)
        )
        if type(operator) not in _SYMBOLS or is_signed or (self.is_checked and kind != "str"):
            return [f"{place.text} = {self.applied(node, target, operator, value).text};"]
        return [f"{place.text} {_SYMBOLS[type(operator)]}= {self.expression(value).text};"]

    def _updated(self, held: ast.expr, other: ast.expr) -> list[str]:
        """Everything of another container put into this one."""
        code = self.expression(held)
        if self.kind(held) == "set":
            with self.temporaries("item", instead=(("one",), ("each",))) as (item,):
                added = f"{method(code, 'add', Code(item)).text};"
                return braced(f"for (const {item} of {self.iterable(other).text})", [added])
        if isinstance(other, ast.DictComp):
            pairs = self.comprehension(other)
        else:
            pairs = self.expression(other)
        with self.temporaries("key", "value", instead=(("name", "entry"),)) as (key, value):
            stored = f"{method(code, 'set', Code(key), Code(value)).text};"
            return braced(f"for (const [{key}, {value}] of {pairs.text})", [stored])

    def _removed(self, held: ast.expr, key: ast.expr) -> str:
        return method(self.expression(held), "delete", self.expression(key)).text

    @contextmanager
    def _kept(self, wanted: str, node: ast.expr) -> Iterator[list[str]]:
        """Lines that keep a value in a name, which stands for the expression inside; none where it
        is as short and as quick as a name."""
        if self.is_short(node):
            yield []
            return
        name = self.hoisted(wanted)
        line = f"const {name} = {self.expression(node).text};"
        with self.standing_for(node, Code(name)):
            yield [line]


def braced(head: str, body: Sequence[str]) -> list[str]:
    """A compound statement; the body indented by two."""
    if not body:
        return [f"{head} {{", "}"]
    return [f"{head} {{", *(f"  {line}" if line else "" for line in body), "}"]


def stored_names(target: ast.expr) -> list[str]:
    """Names that a target binds, without places that are left out."""
    return [
        one.id
        for one in ast.walk(target)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) and one.id != "_"
    ]
