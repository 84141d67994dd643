"""Whether Transformer Engine, where it is installed, loads; megatron-core goes on without one that
does not."""

import importlib
import sys
from functools import cache

import torch  # its libraries first: Transformer Engine links with them

from megatron_codemix.backend.devices import compute_capability
from megatron_codemix.backend.environment import engine_version
from megatron_codemix.config.engine_checks import engine_lacks

_NAME = "transformer_engine"


def engine_lacks_here(device: torch.device) -> str | None:
    """Why Transformer Engine's layers cannot be had on this device; None where they can."""
    lacks = engine_lacks(compute_capability(device), engine_version())
    if lacks is None and (problem := engine_problem()):
        return f"it does not load ({problem})"
    return lacks


@cache
def engine_problem() -> str | None:
    """Why Transformer Engine does not load; None where it does, or is not installed.

    One that does not is from then on as if it were not installed, for the whole process:
    megatron-core, which imports it, listens to ImportError alone. To be called before megatron-core
    is imported.
    """
    if _NAME in sys.modules and sys.modules[_NAME] is None:  # left out, as on a CPU
        return None
    try:
        importlib.import_module(f"{_NAME}.pytorch")
        return None
    except (Exception, SystemExit) as error:  # others too, by the library that it misses
        if isinstance(error, ModuleNotFoundError) and error.name == _NAME:
            return None
        problem = error
    for name in [name for name in sys.modules if name.split(".")[0] == _NAME]:
        del sys.modules[name]
    sys.modules[_NAME] = None  # type: ignore[assignment]  # Python's own mark for it
    lines = str(problem).strip().splitlines() or [""]
    return f"{type(problem).__name__}: {lines[0]}"
