"""What torch's compiler makes of our functions, by its C++ kernels; a process of its own, as the
compiler is slow to import and changes torch. Prints one JSON object."""

import json
import logging
import sys
from collections import defaultdict
from inspect import signature
from threading import Thread
from typing import Any, TypeAlias
from unittest import mock

import torch

from megatron_codemix.backend import compiling
from megatron_codemix.backend.megatron_on_cpu import direct_calls
from megatron_codemix.mcore import compiled
from megatron_codemix.mcore.kernels import turn
from megatron_codemix.mcore.layers import (
    _attend_on_host,
    _future_mask,
    attend_on_gpu,
    counts_from_the_end,
)

CPU = torch.device("cpu")
TRIALS = compiled.MODEL_TRIALS + compiled.FP8_TRIALS


class Lines(logging.Handler):
    """Messages of the log, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def without_a_compiler() -> dict[str, Any]:
    """As on a machine that has none: first tried, then found out in the midst of a run."""
    import torch._inductor.config as inductor

    log = Lines()
    logging.getLogger(compiling.__name__).addHandler(log)
    trial = next(trial for trial in TRIALS if trial.function is turn)
    with inductor.patch({"cpp.cxx": ("/nonexistent/c++",)}):
        problems = compiling.try_to_compile([trial], CPU)
        turn.compile()
        results = [turn(*trial.calls(CPU)[0]) for _ in range(2)]
    expected = turn.as_written(*trial.calls(CPU)[0])
    return {
        "problems": problems,
        "is_compiled": turn.is_compiled,
        "lines": log.lines,
        "same": all(torch.equal(result, expected) for result in results),
    }


def in_another_thread() -> dict[str, Any]:
    """A function of more shapes than torch compiles by itself, most of them in a thread that made
    no setting, as that of a GPU's backward pass; the compiler is asked for its processes as it is
    for tensors on a GPU. Products need no C++ of their own."""
    from torch._inductor import async_compile
    from torch._inductor.async_compile import AsyncCompile

    @compiling.fused
    def square(matrix: torch.Tensor) -> torch.Tensor:
        return matrix @ matrix

    def of_sizes(*sizes: int) -> None:
        for size in sizes:
            square(torch.ones(size, size))

    def waiting(self: AsyncCompile, scope: dict[str, Any]) -> None:
        looks.append(len(async_compile._pool_set))
        AsyncCompile.wakeup()
        wait(self, scope)

    looks: list[int] = []
    wait, AsyncCompile.wait = AsyncCompile.wait, waiting  # type: ignore[method-assign]
    square.compile()
    of_sizes(16, 24, 32)
    thread = Thread(target=of_sizes, args=range(40, 160, 8))
    thread.start()
    thread.join()
    AsyncCompile.wait = wait  # type: ignore[method-assign]
    pools = len(async_compile._pool_set)
    async_compile.shutdown_compile_workers()
    return {"is_compiled": square.is_compiled, "compilations": len(looks), "pools": pools}


def in_older_torch() -> list[dict[str, Any]]:
    """What torch 2.9 and 2.10, which take no limit, are asked for, and what is set beside it."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    def compile_of_2_10(function: Any, **asked: Any) -> Any:
        answers.append(asked | {"limit": dynamo.recompile_limit, "set": inductor.compile_threads})
        return function

    compile_of_2_10.__signature__ = signature(  # type: ignore[attr-defined]
        lambda model, *, fullgraph, dynamic, backend, mode, options, disable: model
    )
    answers: list[dict[str, Any]] = []
    known = {"compile_threads": 2}
    for names in (known, known | {"emulate_divison_rounding": False}):
        forget()
        with (
            mock.patch.object(type(inductor), "get_config_copy", lambda _, names=names: names),
            mock.patch.object(torch, "compile", compile_of_2_10),
            dynamo.patch(recompile_limit=8),
            inductor.patch(compile_threads=2),
        ):
            compiling.fused(torch.neg).compile()
    forget()
    return answers


def forget() -> None:
    """What was found out of this torch."""
    compiling.options.cache_clear()
    compiling._limits.cache_clear()


def compiled_together() -> list[dict[str, Any]]:
    """Differences from the functions as they are written, of the largest element, beside what is
    granted; all in one compilation, which is most of the time. Calls that differ in values alone
    come one after the other."""
    import torch._inductor.config as inductor

    places: dict[Any, list[Place]] = defaultdict(list)
    for trial in TRIALS:
        for number, call in enumerate(trial.calls(CPU)):
            places[trial.function, *map(described, call)].append((trial, number))
    alike = list(places.values())
    in_bf16 = [(calls, in_fp32) for calls in alike if calls[0][0] in compiled.MODEL_TRIALS]
    asked = [(calls, tuple) for calls in alike] + in_bf16

    def arguments(turn: int) -> list[tuple[Any, ...]]:
        places = [(calls[turn % len(calls)], change) for calls, change in asked]
        return [change(trial.calls(CPU)[number]) for (trial, number), change in places]

    def everything(arguments: list[tuple[Any, ...]]) -> list[Any]:
        return [
            calls[0][0].function.as_written(*each)
            for (calls, _), each in zip(asked, arguments, strict=True)
        ]

    fast = torch.compile(everything, fullgraph=True, dynamic=False, options=compiling.options())
    differences = []
    # Headers that are compiled beforehand take longer than one compilation without them.
    with inductor.patch(cpp_cache_precompile_headers=False):
        for turn in range(max(map(len, alike))):
            found, wanted = fast(arguments(turn)), everything(arguments(turn))
            differences.append(list(map(compiling.difference_of, found, wanted)))
    largest = torch.tensor(differences).amax(0).tolist()
    return [
        {
            "name": calls[0][0].function.name,
            "difference": difference,
            "tolerance": FP32 if change is in_fp32 else calls[0][0].tolerance,
        }
        for (calls, change), difference in zip(asked, largest, strict=True)
    ]


Place: TypeAlias = tuple[compiling.Trial, int]
"""Which call of which trial."""


def described(argument: Any) -> Any:
    """What the compiler makes a kernel for."""
    return tuple(argument.shape) if isinstance(argument, torch.Tensor) else argument


FP32 = 2e-6
"""Sums of up to 1024 in another order, another exponential."""


def in_fp32(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Those in bf16."""
    return tuple(
        each.float() if getattr(each, "dtype", None) == torch.bfloat16 else each
        for each in arguments
    )


def attention() -> dict[str, float]:
    """Largest differences between what a GPU asks for and what a CPU does."""
    generator = torch.Generator().manual_seed(0)

    def heads(number: int, length: int) -> torch.Tensor:
        return torch.randn(2, number, length, 16, generator=generator)

    differences = {}
    for name, queries, groups in (
        ("whole", 48, 4),
        ("whole, groups", 48, 2),
        ("last part", 16, 4),
        ("last part, groups", 16, 2),
        ("documents, groups", 48, 2),
    ):
        query, key, value = heads(4, queries), heads(groups, 48), heads(groups, 48)
        future, mask = _future_mask(queries, 48, CPU), None
        if name.startswith("documents"):
            ids = torch.arange(48) // 20
            mask = future = (future | (ids[:, None] != ids[None])).expand(2, 1, -1, -1)
        found = attend_on_gpu(query, key, value, mask, 0.3)
        expected = _attend_on_host(query, key, value, future, 0.3)
        differences[name] = float((found - expected).abs().max())
    return differences


def parts_of_sequences() -> list[bool]:
    """Whether what a GPU asks for is right: as torch answers, and if it counted from the start."""
    from torch.nn.attention import bias

    try_it = counts_from_the_end.__wrapped__
    as_it_is = try_it(CPU, torch.float32, 16)
    bias.causal_lower_right = bias.causal_upper_left
    return [as_it_is, try_it(CPU, torch.float32, 16)]


if __name__ == "__main__":
    with torch.no_grad():
        result: dict[str, Any] = {"attention": attention(), "parts": parts_of_sequences()}
        with direct_calls():  # as in a process with a GPU, where nothing stands for CUDA
            result["without a compiler"] = without_a_compiler()
            result["older"] = in_older_torch()
            result["another thread"] = in_another_thread()
            result["together"] = compiled_together()
    json.dump(result, sys.stdout)
