"""When two problems are nearly the same: by their statement's words, or by their solution's
form."""

import ast
import builtins
import hashlib
import re
from collections.abc import Iterator

_CODE = re.compile(r"```.*?```|`[^`]*`|\"[^\"]*\"", re.DOTALL)
_WORD = re.compile(r"[a-z]+")
_NUMBERS = frozenset(
    [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "twice",
        "first",
        "second",
        "third",
        "fourth",
        "fifth",
        "sixth",
        "seventh",
        "eighth",
        "ninth",
        "tenth",
    ]
)
_BUILTINS = frozenset(dir(builtins))


def normalised_statement(statement: str) -> str:
    """Its words alone: lower case, without code and quoted literals, numbers in digits or words,
    and punctuation. Identifiers stand in code, so they are gone too."""
    words = _WORD.findall(_CODE.sub(" ", statement).lower())
    return " ".join(word for word in words if word not in _NUMBERS)


def skeleton(source: str) -> str:
    """What is left of a program without its own names, constants, annotations and docstrings."""
    return " ".join(_parts(ast.parse(source)))


def key(text: str) -> bytes:
    """8 bytes; of 100,000 texts two different ones share theirs with a chance below 1e-9."""
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def _parts(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name):
            yield name if name in _BUILTINS else "name"
            return
        case ast.Constant(value=value):
            yield type(value).__name__
            return
        case ast.Attribute(attr=name):
            yield f".{name}"
        case ast.Expr(value=ast.Constant()):  # a docstring
            return
        case _:
            yield type(node).__name__
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "ctx"):
            continue
        if isinstance(value, list):
            yield "["
            for one in value:
                if isinstance(one, ast.AST):
                    yield from _parts(one)
            yield "]"
        elif isinstance(value, ast.AST):
            yield from _parts(value)
