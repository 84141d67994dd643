"""Names as JavaScript writes them: camel case, none that the language or a helper has taken."""

import ast
import re
from collections.abc import Collection

_KEYWORDS = """
    arguments await break case catch class const continue debugger default delete do else enum eval
    export extends false finally for function if implements import in instanceof interface let new
    null package private protected public return static super switch this throw true try typeof var
    void while with yield async of get set undefined NaN Infinity
"""
_GLOBALS = "Array Boolean Error JSON Map Math Number Object Set String Symbol"
_RESERVED = frozenset((_KEYWORDS + _GLOBALS).split())
_CAPITALS = re.compile(r"_*[A-Z][A-Z0-9_]*")


class Names:
    """One JavaScript name for each Python name of a module. `taken`: names of helpers."""

    def __init__(self, tree: ast.Module, taken: frozenset[str]) -> None:
        self._used = set(_RESERVED | taken)
        self._javascript: dict[str, str] = {}
        self._attributes: dict[str, str] = {}
        for name in dict.fromkeys(_identifiers(tree)):
            self._javascript[name] = self._free(camel_case(name))
        for name in dict.fromkeys(_attribute_names(tree)):
            self._attributes[name] = _distinct(camel_case(name), set(self._attributes.values()))

    def of(self, name: str) -> str:
        """Of a variable, function or class."""
        return self._javascript[name]

    def known(self, word: str) -> str:
        """A word of a text: where it is a name of the module, as it is written now."""
        return self._javascript.get(word) or self._attributes.get(word) or word

    def all(self) -> dict[str, str]:
        """Variables, functions, classes, fields and methods by their Python names."""
        return {**self._attributes, **self._javascript}

    def attribute(self, name: str) -> str:
        """Of a field or method: JavaScript reserves none."""
        return self._attributes.get(name) or camel_case(name)

    def free(self, wanted: str, in_use: Collection[str] = ()) -> str:
        """This name, or with a number behind it, where neither the module has it nor `in_use`. It
        is not reserved: the caller knows how far it reaches."""
        return _distinct(wanted, {*self._used, *in_use})

    def _free(self, wanted: str) -> str:
        name = f"{wanted}Value" if wanted in self._used and wanted in _RESERVED else wanted
        chosen = _distinct(name, self._used)
        self._used.add(chosen)
        return chosen


def camel_case(name: str) -> str:
    """`max_value` -> `maxValue`; constants and classes stay as they are."""
    if _CAPITALS.fullmatch(name) and len(name.strip("_")) > 1:
        return name
    stem = name.lstrip("_")
    first, *others = stem.rstrip("_").split("_") if stem else [""]
    joined = first + "".join(one[:1].upper() + one[1:] for one in others)
    return name[: len(name) - len(stem)] + joined


def _distinct(name: str, used: Collection[str]) -> str:
    number = 2
    chosen = name
    while chosen in used:
        chosen = f"{name}{number}"
        number += 1
    return chosen


def _identifiers(tree: ast.Module) -> list[str]:
    """Names that the module binds, in order of appearance."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                found.append(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.append(name)
    return found


def _attribute_names(tree: ast.Module) -> list[str]:
    """Fields and methods of the module's classes."""
    found = []
    for one in ast.walk(tree):
        if isinstance(one, ast.ClassDef):
            for member in one.body:
                match member:
                    case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                        found.append(name)
            found += [
                node.attr
                for node in ast.walk(one)
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            ]
    return found
