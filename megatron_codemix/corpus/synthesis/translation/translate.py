"""From the source text of a solution to JavaScript."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from megatron_codemix.corpus.synthesis.translation.bounds import Bounds
from megatron_codemix.corpus.synthesis.translation.definitions import Definitions
from megatron_codemix.corpus.synthesis.translation.desugar import parse
from megatron_codemix.corpus.synthesis.translation.forms import TypeForm
from megatron_codemix.corpus.synthesis.translation.helpers import HELPERS, helper_texts
from megatron_codemix.corpus.synthesis.translation.inference import Inference
from megatron_codemix.corpus.synthesis.translation.line_breaks import broken
from megatron_codemix.corpus.synthesis.translation.names import Names
from megatron_codemix.corpus.synthesis.translation.refusal import UntranslatableError, refused
from megatron_codemix.corpus.synthesis.translation.scopes import Uses
from megatron_codemix.corpus.synthesis.translation.shape import Shape, shape_of
from megatron_codemix.corpus.synthesis.translation.types import Known, Type, resolve
from megatron_codemix.corpus.synthesis.translation.zeros import unseen

_MOST_INTEGER = 2**53


@dataclass(frozen=True)
class Translation:
    """A solution in JavaScript. Forms say how values go over."""

    text: str
    entry: str
    """What is called, as JavaScript names it."""
    parameters: tuple[TypeForm, ...]
    returns: TypeForm
    exports: tuple[str, ...]
    """Names that calls from outside need: the entry and classes."""
    helpers: tuple[str, ...]
    """Functions that the text brings along."""
    names: Mapping[str, str]
    """Of the module in Python, as JavaScript writes them."""

    def name_of(self, name: str) -> str:
        """The JavaScript name of a Python name; any other word itself."""
        return self.names.get(name, name)


class Draft:
    """A solution that is understood and can be written: checked first, then as it is published.

    entry: the function that is called from outside. lows: what its integer parameters are at least,
    where that is known.

    Raises UntranslatableError, with the construct and its line, for what is outside the restricted
    Python, and for what no type is found for.
    """

    def __init__(self, source: str, entry: str, lows: Mapping[str, int] | None = None) -> None:
        try:
            self._tree = parse(source)
        except SyntaxError as error:
            raise UntranslatableError(f"`{error.text}`", error.lineno or 0) from error
        _refuse_odd_names(self._tree)
        self._shape = shape_of(self._tree)
        if entry not in self._shape.functions:
            raise UntranslatableError(f"a module without a function `{entry}`", 1)
        self._entry = self._shape.functions[entry]
        self._inference = Inference(self._shape)
        self._bounds = Bounds(self._shape, self._inference, entry, lows or {})
        self._uses = Uses()
        self._sites: dict[tuple[int, str], int] = {}
        self._unseen = unseen(self._tree)
        self.checked = self._written(frozenset(), is_checked=True)
        """Throws where an integer that is computed is not exact, and says of each place where a
        sign decides what was seen there."""

    def finished(self, plain_sites: frozenset[int] = frozenset()) -> Translation:
        """As it is published. `plain_sites`: places of the checked text that need no care."""
        return self._written(plain_sites, is_checked=False)

    def _written(self, plain_sites: frozenset[int], *, is_checked: bool) -> Translation:
        names = Names(self._tree, frozenset(HELPERS))
        writer = Definitions(
            self._shape,
            self._inference,
            self._bounds,
            names,
            self._uses,
            self._sites,
            plain_sites,
            self._unseen,
            is_checked=is_checked,
        )
        text = self._text(writer)
        helpers = tuple(sorted(writer.helpers))
        forms, node = _Forms(self._shape, names), self._entry.node
        keyed = [name for name in ("TupleMap", "TupleSet") if name in helpers]
        return Translation(
            text=text,
            entry=names.of(node.name),
            parameters=tuple(forms.of(hint, node) for _, hint in self._entry.parameters),
            returns=forms.of(self._entry.returns, node),
            exports=(names.of(node.name), *map(names.of, self._shape.classes), *keyed),
            helpers=helpers,
            names=names.all(),
        )

    def _text(self, writer: Definitions) -> str:
        shape = self._shape
        for _, hint in self._entry.parameters:
            self._bring_classes(writer, hint)
        constants = [line for node in shape.constants for line in writer.constant(node)]
        parts = [constants] if constants else []
        parts += [writer.class_definition(one) for one in shape.classes.values()]
        parts += [writer.definition(one) for one in shape.functions.values()]
        written = ["\n".join(line for each in part for line in broken(each)) for part in parts]
        return "\n\n".join([*helper_texts(writer.helpers), *written]) + "\n"

    def _bring_classes(self, writer: Definitions, hint: Type) -> None:
        """What a caller needs to make arguments of this type."""
        held = resolve(hint)
        if not isinstance(held, Known):
            return
        if held.kind in ("dict", "set"):
            writer.class_for("Map" if held.kind == "dict" else "Set", held.arguments[0])
        parts = held.arguments
        if held.kind == "record":
            parts = tuple(
                one for one in self._shape.classes[held.name].fields.values() if one != held
            )
        for part in parts:
            self._bring_classes(writer, part)


def _refuse_odd_names(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id="_", ctx=ast.Load()):
                raise refused(node, "the name `_`, which is read,")
            case ast.Constant(value=int(number)) if abs(number) >= _MOST_INTEGER:
                raise refused(node, f"the integer {number}, too large to be exact,")


class _Forms:
    """Types as JSON, for what hands over values; records by their JavaScript names."""

    def __init__(self, shape: Shape, names: Names) -> None:
        self._shape = shape
        self._names = names
        self._inside: list[str] = []

    def of(self, one: Type, at: ast.AST) -> TypeForm:
        held = resolve(one)
        if not isinstance(held, Known) or held.kind in ("function", "iterable"):
            raise refused(at, f"an unknown type in the head of `{getattr(at, 'name', '')}`")
        if held.kind == "record":
            if held.name in self._inside:
                raise refused(at, f"the class `{held.name}`, which holds its own kind,")
            self._inside.append(held.name)
            parts = [
                [name, self._names.attribute(name), self.of(hint, at)]
                for name, hint in self._shape.classes[held.name].fields.items()
            ]
            self._inside.pop()
            return ["record", held.name, self._names.of(held.name), parts]
        if held.kind in ("int", "bool", "str", "none"):
            return held.kind
        return [held.kind, *(self.of(part, at) for part in held.arguments)]
