"""What torch's compiler makes of our functions, by its C++ kernels; a process of its own, as the
compiler is slow to import and changes torch. Prints one JSON object."""

import json
import logging
import sys
from typing import Any

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
        results = [turn(*trial.arguments(CPU)) for _ in range(2)]
    expected = turn.as_written(*trial.arguments(CPU))
    return {
        "problems": problems,
        "is_compiled": turn.is_compiled,
        "lines": log.lines,
        "same": all(torch.equal(result, expected) for result in results),
    }


def compiled_together() -> list[dict[str, Any]]:
    """Differences from the functions as they are written, of the largest element, beside what is
    granted; all in one compilation, which is most of the time."""
    import torch._inductor.config as inductor

    calls = [(trial.function, trial.arguments, trial.tolerance) for trial in TRIALS]
    calls += [
        (trial.function, lambda device, t=trial: in_fp32(t.arguments(device)), FP32)
        for trial in compiled.MODEL_TRIALS
    ]

    def everything(arguments: list[tuple[Any, ...]]) -> list[Any]:
        return [call[0].as_written(*each) for call, each in zip(calls, arguments, strict=True)]

    fast = torch.compile(everything, fullgraph=True, dynamic=False, options=compiling._options())
    # Headers that are compiled beforehand take longer than one compilation without them.
    with inductor.patch(cpp_cache_precompile_headers=False):
        found = fast([make(CPU) for _, make, _ in calls])
    wanted = everything([make(CPU) for _, make, _ in calls])
    answers = []
    for (function, _, tolerance), one, other in zip(calls, found, wanted, strict=True):
        pairs = zip(compiling._tensors(one), compiling._tensors(other), strict=True)
        differences = torch.tensor([compiling._difference(*pair) for pair in pairs])
        answers.append(
            # torch's maximum is no number where one of them is none.
            {"name": function.name, "difference": float(differences.max()), "tolerance": tolerance}
        )
    return answers


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
            result["together"] = compiled_together()
    json.dump(result, sys.stdout)
