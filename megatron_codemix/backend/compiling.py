"""Functions of tensors that torch.compile turns into few kernels, in a process that asks for it.

Compiled are chains of element-wise operations and their sums, one kernel or two each, inside of
`torch.autograd.Function`s that say themselves what is kept for the backward pass. Nothing is
compiled before `try_to_compile` has seen the function compile and give what it gives as it is
written; a process that does not call it, as each on a CPU, imports nothing of the compiler.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

import torch

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_MOST_SHAPES = 64
"""Of one function in a process; torch's own 8 are fewer than the shapes of a model's matrices.
Each has kernels of its own: with sizes that are not known loads are narrower."""
_EXACT_DIVISION = "eager_numerics.division_rounding", "emulate_divison_rounding"
"""Inductor's names for quotients that are rounded as torch rounds them: since torch 2.11, and in
2.10, which spells it so. 2.9 has none."""


class Fused(Generic[P, R]):
    """A function as it is written, or compiled; called like the function. It has no gradient of its
    own: what calls it is an autograd function, or needs none."""

    def __init__(self, function: Callable[P, R]) -> None:
        functools.update_wrapper(self, function)
        self.as_written = function
        self._compiled: Callable[P, R] | None = None

    @property
    def name(self) -> str:
        return self.as_written.__name__.removeprefix("_")

    @property
    def is_compiled(self) -> bool:
        return self._compiled is not None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._compiled is None:
            return self.as_written(*args, **kwargs)
        try:
            return self._compiled(*args, **kwargs)
        except _compiler_errors() as error:
            # Of a shape that is new: nothing has been computed yet.
            log.warning("torch.compile of %s fails, going on without: %s", self.name, _line(error))
            self.leave_as_written()
            return self.as_written(*args, **kwargs)

    def compile(self) -> Callable[P, R]:
        """From here on; it happens at the first call with tensors of new shapes. The compiled
        function, which raises where it does not compile."""
        self._compiled = torch.compile(
            self.as_written, fullgraph=True, dynamic=False, options=options(), **_limits()
        )
        return self._compiled

    def leave_as_written(self) -> None:
        """From here on."""
        self._compiled = None


def fused(function: Callable[P, R]) -> Fused[P, R]:
    """Decorator: a function that may be compiled."""
    return Fused(function)


@dataclass(frozen=True)
class Trial:
    """A function with small arguments that show whether it compiles to what it is."""

    function: Fused[Any, Any]
    calls: Callable[[torch.device], Sequence[tuple[Any, ...]]]
    """Makes the arguments of each call anew, as a function may write into them."""
    tolerance: float
    """Of the largest element of a result; 0: every bit."""


def try_to_compile(trials: Sequence[Trial], device: torch.device) -> dict[str, str]:
    """Compiles these functions on the device, those that are not yet; what does not compile, or
    gives something else then, stays as it is written: name -> why."""
    problems: dict[str, str] = {}
    for trial in trials:
        if trial.function.is_compiled:
            continue
        problem = _problem(trial, device)
        if problem is not None:
            trial.function.leave_as_written()
            problems[trial.function.name] = problem
    return problems


def _problem(trial: Trial, device: torch.device) -> str | None:
    with torch.no_grad():
        wanted = [trial.function.as_written(*arguments) for arguments in trial.calls(device)]
        try:
            compiled = trial.function.compile()
            found = [compiled(*arguments) for arguments in trial.calls(device)]
        except Exception as error:  # a compiler, the disk, a driver: whatever may fail in there
            return _line(error)
    # torch's maximum is no number where one of them is none.
    difference = float(torch.tensor(list(map(difference_of, found, wanted))).max())
    if not difference <= trial.tolerance:
        return f"compiled it differs by {difference:.1e} of its largest element"
    return None


def difference_of(found: Any, wanted: Any) -> float:
    """Between two results of a function, tensors or tuples of them: of the largest element."""
    pairs = zip(_tensors(found), _tensors(wanted), strict=True)
    return float(torch.tensor([_difference(*pair) for pair in pairs]).max())


def _difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    found, wanted = found.double(), wanted.double()
    largest = wanted.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return float((found - wanted).abs().max() / largest)


def _tensors(result: Any) -> list[torch.Tensor]:
    results = result if isinstance(result, tuple) else (result,)
    return [each for each in results if each is not None]


@functools.cache
def options() -> dict[str, Any]:
    """Inductor's, of those that this torch has; they hold in whichever thread compiles."""
    import torch._inductor.config as inductor

    # A few small kernels: torch would start up to 32 processes for each rank, which outlive it
    # where it is killed.
    chosen: dict[str, Any] = {"compile_threads": 1}
    known = inductor.get_config_copy()
    return chosen | {name: True for name in _EXACT_DIVISION if name in known}


@functools.cache
def _limits() -> dict[str, Any]:
    """What torch.compile is to be told of the number of shapes. A setting would not do: since torch
    2.12 it holds in the thread that makes it alone, and a GPU's backward pass has its own."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    most = max(dynamo.recompile_limit, _MOST_SHAPES)
    if "recompile_limit" in inspect.signature(torch.compile).parameters:
        return {"recompile_limit": most}
    # Before 2.12 settings hold in all threads, and 2.9 starts its processes before it looks at
    # the options.
    dynamo.recompile_limit = most
    inductor.compile_threads = 1
    return {}


@functools.cache
def _compiler_errors() -> tuple[type[Exception], ...]:
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    return TorchDynamoException, FailOnRecompileLimitHit


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
