"""Docstrings out of code: the rest of the program stays what it was."""

import ast
import sysconfig
import warnings
from pathlib import Path

import pytest

from megatron_codemix.corpus.local.docstrings import MIN_DOCSTRING_CHARS, extract_docstrings

LONG = "Long enough to be prose. " * 12
SHORT = "Too short to be taken."


class _Strip(ast.NodeTransformer):
    """The same removal, on the syntax tree: an oracle that shares no code with the text edit."""

    def _strip(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        text = ast.get_docstring(node)
        if text is not None and len(text) > MIN_DOCSTRING_CHARS:
            rest = node.body[1:]
            node.body = rest if rest or isinstance(node, ast.Module) else [ast.Pass()]
        return node

    def visit(self, node: ast.AST) -> ast.AST:
        is_documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        return self._strip(node) if isinstance(node, is_documented) else self.generic_visit(node)


def stripped_tree(source: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.dump(_Strip().visit(ast.parse(source)))


def test_standard_library_keeps_its_meaning():
    folder = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(path for pattern in ("*.py", "asyncio/*.py") for path in folder.glob(pattern))
    num_docstrings = 0
    for path in paths[::2]:
        source = path.read_text(encoding="utf-8")
        extracted = extract_docstrings(source)
        assert extracted is not None, path
        num_docstrings += len(extracted.docstrings)
        assert stripped_tree(source) == ast.dump(ast.parse(extracted.code)), path
    assert num_docstrings > 200


@pytest.mark.parametrize(
    ("source", "code", "names"),
    [
        pytest.param(f'"""{LONG}"""\n\nx = 1\n', "x = 1\n", [""], id="module"),
        pytest.param(f'"""{LONG}"""', "", [""], id="module without code"),
        pytest.param(
            f'def f():\n    """{LONG}"""\n    return 1\n',
            "def f():\n    return 1\n",
            ["f"],
            id="function",
        ),
        pytest.param(
            f'class A:\n    """{LONG}"""\n', "class A:\n    pass\n", ["A"], id="only statement"
        ),
        pytest.param(f'def f(): """{LONG}"""\n', "def f(): pass\n", ["f"], id="one line"),
        pytest.param(
            f'def f():\n    """{LONG}"""; return 1\n',
            "def f():\n    pass; return 1\n",
            ["f"],
            id="semicolon",
        ),
        pytest.param(
            f'class A:\n  if x:\n    async def f(self):\n      r"""{LONG}"""  # noqa\n      y\n',
            "class A:\n  if x:\n    async def f(self):\n      y\n",
            ["A.f"],
            id="nested",
        ),
        pytest.param(
            f'def f():\n    ("a" * 2)\n    """{LONG}"""\n',
            f'def f():\n    ("a" * 2)\n    """{LONG}"""\n',
            [],
            id="a string that documents nothing",
        ),
        pytest.param(
            f'def f():\n    """{SHORT}"""\n', f'def f():\n    """{SHORT}"""\n', [], id="short"
        ),
        pytest.param(
            f'\u00e9 = 1\r\nclass \u00c4:\r\n    "\u00e9{LONG}" "b"\r\n    \u00fc = 2\r\n',
            "\u00e9 = 1\nclass \u00c4:\n    \u00fc = 2\n",
            ["\u00c4"],
            id="wide characters, CRLF, joined strings",
        ),
        pytest.param(
            f'"""{LONG}"""\nfrom __future__ import annotations\n',
            "from __future__ import annotations\n",
            [""],
            id="before a future import",
        ),
    ],
)
def test_removal(source: str, code: str, names: list[str]):
    extracted = extract_docstrings(source)
    assert extracted is not None
    assert extracted.code == code
    assert [name for name, _ in extracted.docstrings] == names
    compile(extracted.code, "code", "exec")
    for _, text in extracted.docstrings:
        assert text.strip()
        assert text not in extracted.code


@pytest.mark.parametrize("source", ["def f(:\n", "x = 'a\x00'", "print 1\n"])
def test_what_does_not_parse_is_refused(source: str):
    assert extract_docstrings(source) is None
