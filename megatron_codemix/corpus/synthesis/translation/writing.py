"""What all parts that write JavaScript share: types, bounds, names, and what was used."""

import ast
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from megatron_codemix.corpus.synthesis.translation.bounds import Bounds
from megatron_codemix.corpus.synthesis.translation.code import MEMBER, SUM, Code, call, infix
from megatron_codemix.corpus.synthesis.translation.inference import Inference
from megatron_codemix.corpus.synthesis.translation.names import Names
from megatron_codemix.corpus.synthesis.translation.scopes import Uses
from megatron_codemix.corpus.synthesis.translation.shape import Shape
from megatron_codemix.corpus.synthesis.translation.types import Type, kind_of
from megatron_codemix.corpus.synthesis.translation.zeros import may_make_negative_zero

SEEN = "$seen"
"""What the checked text calls where a sign decides: it counts how often a place had an integer, and
whether one was less than it has to be."""
ZERO = "$zero"
"""What the checked text calls on an integer that may be -0: it counts like `$seen` whether one was,
and gives 0 for it."""
CHECK = "$whole"
"""What the checked text calls on each integer that is computed; throws where one is not exact."""


class Writing(ABC):
    """`is_checked`: with a check around every integer that is computed, and all places watched.
    `sites` numbers these places by their nodes and what is watched; `plain_sites` are those that
    need no care. `unseen`: nodes whose -0 nothing can tell from 0 (`zeros`)."""

    def __init__(
        self,
        shape: Shape,
        inference: Inference,
        bounds: Bounds,
        names: Names,
        uses: Uses,
        sites: dict[tuple[int, str], int],
        plain_sites: frozenset[int],
        unseen: frozenset[int],
        *,
        is_checked: bool,
    ) -> None:
        self.shape = shape
        self.inference = inference
        self.bounds = bounds
        self.names = names
        self.is_checked = is_checked
        self.helpers: set[str] = set()
        self.uses = uses
        self.sites = sites
        self.plain_sites = plain_sites
        self.unseen = unseen
        self._renamed: dict[str, str] = {}
        self._standing: dict[int, Code] = {}
        self._temporaries: list[str] = []
        self._hoisted: list[str] = []
        self.nonlocals = {
            name
            for function in shape.functions.values()
            for node in ast.walk(function.node)
            if isinstance(node, ast.Nonlocal)
            for name in node.names
        }

    @abstractmethod
    def expression(self, node: ast.expr) -> Code:
        """Raises UntranslatableError."""

    @abstractmethod
    def condition(self, node: ast.expr) -> Code:
        """What is true in JavaScript where the expression counts as true in Python."""

    @abstractmethod
    def array(self, node: ast.expr) -> tuple[Code, bool]:
        """The elements of what can be iterated, as an array; whether it is nobody else's."""

    def type_of(self, node: ast.expr) -> Type:
        return self.inference.type_of(node)

    def kind(self, node: ast.expr) -> str:
        return kind_of(self.type_of(node))

    def is_least(self, node: ast.expr, least: int) -> bool:
        """Whether an integer is known to be so large."""
        return self.bounds.least(node) >= least

    def is_plain(self, site: ast.AST, *parts: tuple[ast.expr, int]) -> bool:
        """Whether integers are as large as JavaScript needs them to mean the same as Python: by
        proof, or because those seen at this place always were."""
        if all(self.is_least(node, least) for node, least in parts):
            return True
        number = self._site(site, SEEN)
        return not self.is_checked and number in self.plain_sites

    def _site(self, node: ast.AST, watched: str) -> int:
        return self.sites.setdefault((id(node), watched), len(self.sites))

    def watched(self, site: ast.AST, node: ast.expr, least: int) -> Code:
        """An integer of a place that is not proved to be plain: the checked text counts it."""
        code = self.expression(node)
        if not self.is_checked or self.is_least(node, least):
            return code
        number = self._site(site, SEEN)
        return Code(f"{SEEN}({number}, {code.text}, {least})", MEMBER)

    def helper(self, name: str, *arguments: Code) -> Code:
        self.helpers.add(name)
        return call(name, *arguments)

    def whole(self, code: Code) -> Code:
        """An integer that was just computed."""
        return Code(f"{CHECK}({code.text})", MEMBER) if self.is_checked else code

    def is_product_plain(
        self, site: ast.AST, left: ast.expr, operator: ast.operator, right: ast.expr
    ) -> bool:
        """Whether an operation on integers never gives -0 that could be seen: by proof, or because
        at this place it never did."""
        return self._is_zero_plain(
            site, may_make_negative_zero(left, operator, right, self.bounds.least)
        )

    def _is_zero_plain(self, site: ast.AST, may_be_negative: bool) -> bool:
        if not may_be_negative or id(site) in self.unseen:
            return True
        number = self._site(site, ZERO)
        return not self.is_checked and number in self.plain_sites

    def zero(self, site: ast.AST, code: Code, *, may_be_negative: bool) -> Code:
        """An integer that was just computed, and 0 where it would be -0."""
        if self._is_zero_plain(site, may_be_negative):
            return code
        if self.is_checked:
            return Code(f"{ZERO}({self._site(site, ZERO)}, {code.text})", MEMBER)
        if code.text.startswith("-"):
            return Code(f"0 - {code.text[1:]}", SUM)
        return infix(code, "+", Code("0"), SUM)

    def is_short(self, node: ast.expr) -> bool:
        """Whether to write it twice is as good as to give it a name."""
        match node:
            case ast.Name() | ast.Constant():
                return True
            case ast.Attribute(value=value):
                return self.is_short(value)
            case ast.Call(func=ast.Name(id="len"), args=[ast.Name()]):
                return True
            case ast.Subscript(value=value, slice=at):
                return isinstance(value, ast.Name) and isinstance(at, ast.Name | ast.Constant)
            case ast.Tuple(elts=elements):
                return all(map(self.is_short, elements))
            case ast.BinOp(left=left, op=(ast.Add() | ast.Sub()), right=right):
                return isinstance(left, ast.Name) and isinstance(right, ast.Name | ast.Constant)
        return False

    def name(self, name: str) -> str:
        return self._renamed.get(name) or self.names.of(name)

    @contextmanager
    def counter(self) -> Iterator[str]:
        """A name for what counts the rounds of a loop and is not looked at."""
        free = [one for one in "ijk" if self.names.free(one, self._temporaries) == one]
        with self.temporaries(free[0] if free else "round") as (chosen,):
            yield chosen

    @contextmanager
    def temporaries(
        self, *wanted: str, instead: Sequence[Sequence[str]] = ()
    ) -> Iterator[list[str]]:
        """Names for parameters of a small function, that nothing inside of it can mean; others
        `instead` where those wanted are taken."""
        chosen = [self.names.free(one, self._temporaries) for one in wanted]
        for names in instead:
            if chosen == list(wanted):
                break
            free = [self.names.free(one, self._temporaries) for one in names]
            chosen, wanted = (free, tuple(names)) if free == list(names) else (chosen, wanted)
        self._temporaries += chosen
        yield chosen
        del self._temporaries[len(self._temporaries) - len(chosen) :]

    @contextmanager
    def standing_for(self, node: ast.expr, code: Code) -> Iterator[None]:
        """An expression is written as something else inside."""
        self._standing[id(node)] = code
        yield
        del self._standing[id(node)]

    @contextmanager
    def renamed(self, name: str, javascript: str) -> Iterator[None]:
        """A Python name stands for another JavaScript name inside."""
        before = self._renamed
        self._renamed = {**before, name: javascript}
        yield
        self._renamed = before


def pattern(writing: Writing, target: ast.expr, used_in: Sequence[ast.expr] | None = None) -> str:
    """A target of a loop or an assignment as names or a destructuring pattern. Places called `_`
    are left out, and where it is said what follows, those that are not used in it."""
    match target:
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            parts = [
                "" if _is_left_out(writing, one, used_in) else pattern(writing, one, used_in)
                for one in elements
            ]
            return f"[{', '.join(parts).rstrip(', ')}]"
        case ast.Name(id=name):
            return writing.name(name)
    return writing.expression(target).text


def _is_left_out(writing: Writing, target: ast.expr, used_in: Sequence[ast.expr] | None) -> bool:
    if is_ignored(target) or used_in is None or not isinstance(target, ast.Name):
        return is_ignored(target)
    return not any(writing.uses.is_used(one, target.id) for one in used_in)


def is_ignored(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id == "_"
