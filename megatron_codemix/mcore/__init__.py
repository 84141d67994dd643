"""The only code that imports megatron.core: translates our configuration to its configs, builds its
models, runs its steps.

Importing this package installs the CPU meaning of `torch.cuda` where there is no CUDA, and where
there is leaves out a Transformer Engine that does not load. It installs an optimizer kernel where
megatron-core has found none, a mend of its routers, and optimizers that do without torch.compile's
machinery. That is the project's one import effect: it must happen before megatron.core is first
used, and Python runs this file before any module below it.
"""

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator

from torch.optim import Optimizer

from megatron_codemix.backend import megatron_on_cpu
from megatron_codemix.backend.engine import engine_problem

_KEPT_FROM_DYNAMO = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
_MODULES = ("distributed", "dist_checkpointing", "models.gpt.gpt_layer_specs", "optimizer")


def _import_megatron() -> None:
    """Without the dozen warnings that it gives, one for each package that it can do without."""
    with warnings.catch_warnings(), _left_out("wandb"):
        warnings.simplefilter("ignore")
        if not megatron_on_cpu.install():
            engine_problem()
        for name in _MODULES:
            importlib.import_module(f"megatron.core.{name}")
        importlib.import_module("megatron_codemix.mcore.fused_adam").provide_fused_adam()
        importlib.import_module("megatron_codemix.mcore.kernels").provide_kernels()
        importlib.import_module("megatron_codemix.mcore.experts").provide_router_gemm()
    _spare_dynamo()


def _spare_dynamo() -> None:
    """torch.optim imports torch._dynamo at the first call of these methods, only to keep them out
    of compiled functions: 0.8 s and 23 MiB of every process that trains, and none of ours compiles
    them. The mark is what torch leaves there itself (torch/_compile.py)."""
    for name in _KEPT_FROM_DYNAMO:
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None:
            method.__dynamo_disable = method


@contextlib.contextmanager
def _left_out(package: str) -> Iterator[None]:
    """As if it were not installed: megatron-core's inference takes half a second of every start to
    import a tracker that only its engine uses, and we do not use that."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # Python's own mark for it
    try:
        yield
    finally:
        del sys.modules[package]


_import_megatron()
