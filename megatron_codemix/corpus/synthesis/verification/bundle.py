"""The modules of `inside/` as one program text for the sandbox."""

import functools
import importlib.util
import json
from pathlib import Path

_PACKAGE = "megatron_codemix.corpus.synthesis.verification.inside"
_MODULES = ("instrument", "mutants", "harness", "documents")

_START = """
import sys
from types import ModuleType

def load(name, source):
    parent = ""
    for part in name.split("."):
        child = f"{parent}.{part}" if parent else part
        module = sys.modules.setdefault(child, ModuleType(child))
        module.__path__ = []
        if parent:
            setattr(sys.modules[parent], part, module)
        parent = child
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)

for name, source in SOURCES:
    load(name, source)
"""


@functools.cache
def program(entry: str = "harness") -> str:
    """Source text that loads the modules under their own names and runs `main` of `entry`: one of
    them, or another module by its full name that imports nothing else."""
    names = [f"{_PACKAGE}.{name}" for name in _MODULES]
    main = entry if "." in entry else f"{_PACKAGE}.{entry}"
    sources = [(name, _source(name)) for name in dict.fromkeys([*names, main])]
    head = f"SOURCES = {json.dumps(sources)}\n"
    return f"{head}{_START}\nsys.modules[{main!r}].main()\n"


def _source(name: str) -> str:
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    return Path(spec.origin).read_text(encoding="utf-8")
