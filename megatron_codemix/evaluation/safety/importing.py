"""Imports a program as a module, inside the sandbox; needs nothing but the standard library.

The sandbox has no installed packages. Those that our prompts use are stood in for by modules in
which every name exists, so that a program comes to the end of its definitions as it would where
they are installed; any other package is missing.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

COMPILED, IMPORTED, NO_PROGRAM = "compiled", "imported", "no program"


class _Anything(type):
    """Has every attribute, can be called, subscribed and inherited from."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls

    def __getitem__(cls, key: Any) -> Any:
        return cls


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the packages of these names, with every module in them."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = packages

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in self.packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        anything = _Anything("anything", (), {})

        def attribute(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return anything

        module.__dict__["__getattr__"] = attribute


def import_program(source: str, packages: Sequence[str]) -> None:
    """Writes a line for each stage that the program comes to."""
    sys.meta_path.append(_StandIns(packages))
    try:
        code = compile(source, "<program>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        sys.stdout.write(f"{NO_PROGRAM}\n")
        return
    sys.stdout.write(f"{COMPILED}\n")
    module = ModuleType("program")
    sys.modules["program"] = module
    exec(code, module.__dict__)
    sys.stdout.write(f"{IMPORTED}\n")
