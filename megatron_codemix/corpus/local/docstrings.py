"""Takes long docstrings out of Python code, so that no sentence is both code and text.

A docstring that is alone in its body becomes `pass`; elsewhere its lines go. The result compiles,
or there is none.
"""

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

MIN_DOCSTRING_CHARS = 200
"""Docstrings of this length or less stay in the code: they are one-line summaries, not prose."""

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class ExtractedCode:
    """`docstrings` maps each documented name ("Class.method", "" for the module) to its text."""

    code: str
    docstrings: list[tuple[str, str]]


def extract_docstrings(source: str) -> ExtractedCode | None:
    """Code without its docstrings of more than 200 characters; None where `source` does not
    parse.

    Names that are documented twice (branches of an if) appear twice.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SyntaxWarning about other people's escapes
        try:
            tree = ast.parse(source)
            found = [
                (name, node)
                for name, node in _documented(tree, "")
                if len(ast.get_docstring(node, clean=True) or "") > MIN_DOCSTRING_CHARS
            ]
            if not found:
                return ExtractedCode(source, [])
            code, is_sure = _without_docstrings(source, [node for _, node in found])
            if not is_sure:
                ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    return ExtractedCode(
        code, [(name, ast.get_docstring(node, clean=True) or "") for name, node in found]
    )


def _documented(node: ast.AST, prefix: str) -> Iterator[tuple[str, _Documented]]:
    # Statements only: walking expressions too takes five times as long and cannot find a
    # definition.
    if isinstance(node, _Documented):
        yield prefix, node
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        children = getattr(node, field, None)
        if not isinstance(children, list):  # the body of a lambda or conditional expression
            continue
        for child in children:
            name = getattr(child, "name", None)
            inner = prefix
            if isinstance(child, _Documented) and isinstance(name, str):
                inner = f"{prefix}.{name}" if prefix else name
            yield from _documented(child, inner)


def _without_docstrings(source: str, nodes: list[_Documented]) -> tuple[str, bool]:
    """The code, and whether it is sure to parse: parsing all again would take as long as before."""
    # ast counts columns in UTF-8 bytes, lines at \n, \r\n and \r only (str.splitlines knows more).
    lines = source.replace("\r\n", "\n").replace("\r", "\n").encode().split(b"\n")
    last_first = sorted(nodes, key=lambda node: node.body[0].lineno, reverse=True)
    stood_alone = [_remove(lines, node) for node in last_first]
    return b"\n".join(lines).decode(), all(stood_alone)


def _remove(lines: list[bytes], node: _Documented) -> bool:
    """True where nothing but a comment shared the docstring's lines."""
    statement = node.body[0]
    assert statement.end_lineno is not None
    assert statement.end_col_offset is not None
    first, last = statement.lineno - 1, statement.end_lineno - 1
    before = lines[first][: statement.col_offset]
    after = lines[last][statement.end_col_offset :]
    stands_alone = not before.strip() and (not after.strip() or after.lstrip().startswith(b"#"))
    if stands_alone and (len(node.body) > 1 or isinstance(node, ast.Module)):
        has_blank = last + 1 < len(lines) and not lines[last + 1].strip()
        del lines[first : last + 1 + has_blank]
    else:
        lines[first : last + 1] = [before + b"pass" + after]
    return stands_alone
