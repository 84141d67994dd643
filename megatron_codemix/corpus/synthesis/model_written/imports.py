"""Modules that a solution may import, and ways to others through what these have imported.

It keeps results from depending on more than arguments, in programs that mean no harm. What programs
can do is the sandbox's business, and who is believed `trial`'s.
"""

import ast
import importlib
import operator
from types import ModuleType

ALLOWED = {
    "__future__", "abc", "array", "base64", "binascii", "bisect", "calendar", "cmath",
    "collections", "collections.abc", "colorsys", "contextlib", "copy", "csv", "dataclasses",
    "decimal", "difflib", "enum", "fnmatch", "fractions", "functools", "graphlib", "hashlib",
    "heapq", "html",
    "ipaddress", "itertools", "json", "keyword", "math", "numbers", "operator", "pprint", "queue",
    "re", "shlex", "statistics", "string", "struct", "textwrap", "types", "typing", "unicodedata",
    "zlib",
}  # fmt: skip
"""They are imported here, to look at what they hold: only such as do nothing by that."""
_INTERNAL = {
    "__builtins__", "__bases__", "__closure__", "__code__", "__dict__", "__getattribute__",
    "__globals__", "__import__", "__loader__", "__mro__", "__spec__", "__subclasses__",
    "ag_frame", "cr_frame", "f_back", "f_builtins", "f_globals", "f_locals", "gi_frame",
    "tb_frame",
}  # fmt: skip
_ROUTES = {"builtins", "importlib", "os", "subprocess", "sys"}
"""As an attribute of anything: an object may be a module under another name."""


def module_by_the_way(tree: ast.Module) -> str | None:
    """What is imported or reached and is not allowed, as it is written."""
    bound: dict[str, object] = {}
    for node in ast.walk(tree):
        refused = _bind(node, bound) if isinstance(node, ast.Import | ast.ImportFrom) else None
        if refused is not None:
            return refused
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) if name in _INTERNAL | _ROUTES:
                return name
            case ast.Name(id=name) if name in _INTERNAL:
                return name
            case ast.Attribute() if _is_foreign(_resolved(node, bound)):
                return ast.unparse(node)
            case ast.Call(func=ast.Name(id="getattr" | "setattr" as name), args=[_, second, *_]):
                attribute = second.value if isinstance(second, ast.Constant) else None
                if not isinstance(attribute, str) or attribute in _INTERNAL | _ROUTES:
                    return name
                got = ast.Attribute(node.args[0], attribute, ast.Load())
                if _is_foreign(_resolved(got, bound)):
                    return ast.unparse(got)
    return None


def _bind(node: ast.Import | ast.ImportFrom, bound: dict[str, object]) -> str | None:
    """Notes what the names of an import are; the first that is not allowed."""
    if isinstance(node, ast.Import):
        for one in node.names:
            if one.name not in ALLOWED:
                return one.name
            name = one.asname or one.name.partition(".")[0]
            bound[name] = importlib.import_module(one.name if one.asname else name)
        return None
    if node.level or node.module not in ALLOWED:
        return "." * node.level + (node.module or "")
    module = importlib.import_module(node.module)
    for one in node.names:
        value = getattr(module, one.name, None)
        if one.name == "*" or one.name in _INTERNAL or _is_foreign(value):
            return f"{node.module}.{one.name}"
        bound[one.asname or one.name] = value
    return None


def _resolved(node: ast.expr, bound: dict[str, object]) -> object:
    """What dotted names that begin at an import are; None for all else."""
    match node:
        case ast.Name(id=name):
            return bound.get(name)
        case ast.Attribute(value=value, attr=name) if (of := _resolved(value, bound)) is not None:
            try:
                found: object = operator.attrgetter(name)(of)
            except AttributeError:
                return None
            return found
    return None


def _is_foreign(value: object) -> bool:
    return isinstance(value, ModuleType) and value.__name__ not in ALLOWED
