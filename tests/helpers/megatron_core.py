"""megatron-core as the peer of tests."""

import importlib
from typing import Any


def import_megatron(name: str) -> Any:
    """A module of megatron-core, behind megatron_codemix.mcore: what that changes in it must come
    first, and which test of a process is the first to import it is left to chance."""
    importlib.import_module("megatron_codemix.mcore")
    return importlib.import_module(name)
