"""Which functions of the model are compiled, and what each is tried with before it is used."""

import itertools
import logging

import torch
import torch.distributed

from megatron_codemix.backend.compiling import Trial, try_to_compile
from megatron_codemix.backend.devices import Backend
from megatron_codemix.config.schema import AnyPrecisionConfig, Fp8Config
from megatron_codemix.mcore import kernels, language_model
from megatron_codemix.mcore.fp8 import formats, scaling
from megatron_codemix.mcore.fp8.formats import E4M3, E5M2, Format

log = logging.getLogger(__name__)

_ROUNDING = 2**-7
"""In bf16: what is compiled rounds its result, and not what stands between."""
_SUMS = 1e-5
"""Of sums in fp32 in another order."""
_EVERY_BIT = 0.0


def compile_functions(backend: Backend, precision: AnyPrecisionConfig) -> None:
    """Compiles what a step computes beside its products, on a GPU; on a CPU nothing. A function
    that some rank's compiler refuses, or compiles to something else, stays as it is written on all
    of them, and one line says why. Every rank calls it."""
    if backend.name == "cpu":
        return
    is_rounded_here = isinstance(precision, Fp8Config) and not precision.is_engines
    trials = MODEL_TRIALS + (FP8_TRIALS if is_rounded_here else ())
    problems = try_to_compile(trials, backend.device)
    for name, problem in problems.items():
        log.warning("torch.compile of %s: %s; going on without", name, problem)
    works = [trial.function.is_compiled for trial in trials]
    agreed = torch.tensor(works, dtype=torch.int32, device=backend.device)
    torch.distributed.all_reduce(agreed, torch.distributed.ReduceOp.MIN)
    for trial, on_all in zip(trials, agreed.tolist(), strict=True):
        if not on_all:
            trial.function.leave_as_written()
    log.info("%d of %d functions are compiled", sum(agreed.tolist()), len(trials))


def _random(device: torch.device, *shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).bfloat16().to(device)


def _turn(device: torch.device) -> list[tuple[torch.Tensor | bool, ...]]:
    """Queries as a projection leaves them, beside keys and values; halves, then neighbours; heads
    first, then the sequence."""
    x = _random(device, 64, 2, 4, 3 * 32)[..., :32]
    cos, sin = _random(device, 2, 1, 1, 64, 32, seed=1)
    flags = itertools.product((False, True), repeat=2)
    return [(x, cos, sin, *each) for each in flags]


def _gate(device: torch.device) -> list[tuple[torch.Tensor]]:
    return [(_random(device, 64, 2, 256),)]


def _gate_gradient(device: torch.device) -> list[tuple[torch.Tensor, ...]]:
    return [(_random(device, 64, 2, 256), _random(device, 64, 2, 128, seed=1))]


def _labels(device: torch.device) -> torch.Tensor:
    """Some of them in another rank's part of the vocabulary."""
    return (torch.arange(128, device=device).view(64, 2) * 37) % 1500 - 200


def _logits(device: torch.device) -> list[tuple[torch.Tensor, ...]]:
    return [(_random(device, 64, 2, 1024), _labels(device))]


def _of_losses(device: torch.device) -> list[tuple[torch.Tensor, ...]]:
    [(logits, labels)] = _logits(device)
    factor, entropy_gradient = _random(device, 2, 64, 2, seed=1).float()
    return [(logits, labels, logits.float().logsumexp(-1), factor, entropy_gradient)]


_FORMATS = E4M3, E5M2
_MAXIMA = [0.0, float("inf"), *(0.37 * 1.3**power for power in range(24))]
"""Quotients that a kernel of lesser division rounds otherwise in some of them, not in each."""


def _matrix(device: torch.device) -> torch.Tensor:
    return _random(device, 128, 192)


def _matrices(device: torch.device) -> list[tuple[torch.Tensor]]:
    return [(_matrix(device),)]


def _with_scale(device: torch.device) -> list[tuple[torch.Tensor | Format | bool, ...]]:
    """One scale keeps all in both formats, the other brings most of it beyond."""
    scales = [torch.tensor(scale, device=device) for scale in (0.75, 1e5)]
    return [(_matrix(device), scale, to, True) for to in _FORMATS for scale in scales]


def _with_maximum(device: torch.device) -> list[tuple[torch.Tensor | Format | bool, ...]]:
    maxima = [torch.tensor(maximum, device=device) for maximum in _MAXIMA]
    return [(_matrix(device), maximum, to, True) for to in _FORMATS for maximum in maxima]


def _of_sizes(device: torch.device) -> list[tuple[torch.Tensor | Format | bool, ...]]:
    matrix = _matrix(device)
    return [(matrix * size, to, True) for to in _FORMATS for size in _MAXIMA]


MODEL_TRIALS = (
    Trial(kernels.turn, _turn, _ROUNDING),
    Trial(kernels.gated_silu, _gate, _ROUNDING),
    Trial(kernels.gated_silu_gradient, _gate_gradient, _ROUNDING),
    Trial(language_model.sums_of_rows, _logits, _SUMS),
    Trial(language_model.into_gradients, _of_losses, _ROUNDING),
)
FP8_TRIALS = (
    Trial(scaling.absolute_maximum, _matrices, _EVERY_BIT),
    Trial(scaling.rounded_to_range, _with_maximum, _EVERY_BIT),
    Trial(scaling.rounded_alone, _of_sizes, _EVERY_BIT),
    Trial(formats.rounded_codes, _with_scale, _EVERY_BIT),
)
