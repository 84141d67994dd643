"""The modules of `inside/` as one program text for the sandbox."""

import ast
import base64
import functools
import importlib.util
import marshal
from collections.abc import Iterator
from pathlib import Path

_OURS = "megatron_codemix"
_PACKAGE = f"{_OURS}.corpus.synthesis.verification.inside"

_START = """
import marshal
import sys
from binascii import a2b_base64
from types import ModuleType

def load(name, code):
    parent = ""
    for part in name.split("."):
        child = f"{parent}.{part}" if parent else part
        module = sys.modules.setdefault(child, ModuleType(child))
        module.__path__ = []
        if parent:
            setattr(sys.modules[parent], part, module)
        parent = child
    exec(marshal.loads(a2b_base64(code)), module.__dict__)

for name, code in MODULES:
    load(name, code)
"""


@functools.cache
def program(entry: str = "harness") -> str:
    """Source text that loads the modules under their own names and runs `main` of `entry`: one of
    them, or another module by its full name that imports nothing else.

    They are compiled here, once: the sandbox has this interpreter, and a program that takes a
    millisecond would pay twenty for the text of its harness.
    """
    main = entry if "." in entry else f"{_PACKAGE}.{entry}"
    modules = [(name, _compiled(name)) for name in dict.fromkeys(_needed(main))]
    return f"MODULES = {modules!r}\n{_START}\nsys.modules[{main!r}].main()\n"


def _needed(name: str) -> Iterator[str]:
    """A module of ours behind those of ours that it imports, each behind its own."""
    for node in ast.walk(ast.parse(_file(name).read_text(encoding="utf-8"))):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.startswith(_OURS):
                is_package = _file(module).name == "__init__.py"
                for one in names if is_package else names[:1]:
                    yield from _needed(f"{module}.{one.name}" if is_package else module)
    yield name


def _compiled(name: str) -> str:
    source = _file(name).read_text(encoding="utf-8")
    code = compile(source, f"<{name}>", "exec", dont_inherit=True, optimize=0)
    return base64.b64encode(marshal.dumps(code)).decode()


def _file(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    return Path(spec.origin)
