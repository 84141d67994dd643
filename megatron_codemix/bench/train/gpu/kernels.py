"""Where a GPU's time goes: kernels of a few steps, by what they are for, from torch's profiler."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch.profiler

from megatron_codemix.backend.devices import Backend
from megatron_codemix.files import read_json_object

WINDOW = "codemix bench: steps"
PROFILED_STEPS = 3
LARGEST = 12
"""Kernels that are listed by name."""

_ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
"""Categories of the trace whose events are work of the GPU. Ranges of the program that it also
shows on the GPU's line (gpu_user_annotation) are none."""

_CLASSES = (
    ("collectives", r"nccl|oneRankReduce"),
    # Triton's names list what was fused: of these kinds no product, whatever it stands beside.
    ("norms and elementwise", r"^triton_(poi|red|per|for)_"),
    ("attention", r"flash|fmha|sdpa|attention|attn"),
    ("optimizer", r"multi_tensor|multitensor|adam|lpnorm"),
    ("copies and casts", r"^mem(cpy|set)|copy_kernel|CatArrayBatchedCopy|FillFunctor"),
    ("copies and casts", r"cast_(only|transpose|kernel)|transpose_kernel|quantize"),
    ("matrix products", r"gemm|gemv|nvjet|cutlass|xmma|splitKreduce|matmul|^triton_(tem|mm)"),
    # Its gradient is summed by sorted tokens: nothing else here sorts or sums from left to right.
    ("embedding", r"embedding|indexSelect|vectorized_gather|compute_grad_weight|sum_and_scatter"),
    ("embedding", r"RadixSort|UniqueByKey|DeviceScan|DeviceCompactInit|partials?_(per_)?segment"),
    ("norms and elementwise", r"elementwise|norm|softmax|reduce_kernel|GammaBeta|^triton_"),
    ("other", r""),
)
"""Class and what the name of its kernels has in it; the first that fits. Names are those of torch,
cuBLAS, cuDNN, Triton, Transformer Engine and NCCL."""
_PATTERNS = [(name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _CLASSES]

CLASSES = tuple(dict.fromkeys(name for name, _ in _CLASSES))


def class_of(kernel: str) -> str:
    """One of CLASSES."""
    return next(name for name, pattern in _PATTERNS if pattern.search(kernel))


def kernels_of(
    step: Callable[[], object], backend: Backend, folder: Path
) -> dict[str, Any]:  # Any: JSON values
    """`kernels`, and why there are none where the profiler fails: that costs no side its times."""
    try:
        return {"kernels": profile_kernels(step, backend, folder)}
    except (RuntimeError, ValueError) as error:  # also of what it cannot read back
        why = str(error).strip().split("\n")[0]
        return {"kernels": None, "no_kernels_because": f"{type(error).__name__}: {why}"}


def profile_kernels(
    step: Callable[[], object], backend: Backend, folder: Path
) -> dict[str, Any] | None:  # Any: JSON values
    """As `sum_kernels`, of a few steps, which the profiler makes slower than others."""
    path = folder / "trace.json"
    with torch.profiler.profile() as profile:
        step()  # the profiler itself is warm after it
        backend.wait()
        with torch.profiler.record_function(WINDOW):
            for _ in range(PROFILED_STEPS):
                step()
            backend.wait()
    profile.export_chrome_trace(str(path))
    events = read_json_object(path)["traceEvents"]
    path.unlink()
    assert isinstance(events, list)
    return sum_kernels(events, PROFILED_STEPS)


def sum_kernels(
    events: Iterable[Mapping[str, Any]], num_steps: int
) -> dict[str, Any] | None:  # Any: JSON values
    """Seconds of a step: of each class, in which any kernel ran, and of the largest kernels. What
    runs side by side counts twice in the classes. None without a GPU, or where the profiler was not
    let see it.

    events: of a trace in Chrome's format, times in microseconds, with a range WINDOW.
    """
    whole = [event for event in events if event.get("ph") == "X"]
    [window] = [
        event for event in whole if event["name"] == WINDOW and event["cat"] == "user_annotation"
    ]
    begin, end = window["ts"], window["ts"] + window["dur"]
    found = [
        event for event in whole if event.get("cat") in _ON_DEVICE and begin <= event["ts"] < end
    ]
    if not found:
        return None
    by_name: dict[str, list[float]] = defaultdict(list)
    for event in found:
        by_name[event["name"]].append(1e-6 * event["dur"] / num_steps)
    by_class = dict.fromkeys(CLASSES, 0.0)
    for name, seconds in by_name.items():
        by_class[class_of(name)] += sum(seconds)
    largest = sorted(by_name.items(), key=lambda item: -sum(item[1]))[:LARGEST]
    return {
        "class_seconds": by_class,
        "busy_seconds": 1e-6 * _covered(found) / num_steps,
        "launches": len(found) / num_steps,
        "largest": [
            {
                "name": name,
                "class": class_of(name),
                "seconds": sum(seconds),
                "launches": len(seconds) / num_steps,
            }
            for name, seconds in largest
        ],
    }


def _covered(events: Iterable[Mapping[str, Any]]) -> float:
    """Microseconds in which one of them went on."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted((event["ts"], event["ts"] + event["dur"]) for event in events):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
