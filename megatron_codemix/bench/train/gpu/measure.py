"""One measurement: a process that has the device for itself.

It reads a job and writes, after each side, what was found; so that what kills it costs no more than
the side that it was at.
"""

import statistics
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from megatron_codemix.backend.devices import Backend
from megatron_codemix.backend.measuring import (
    give_memory_back,
    held_bytes,
    peak_bytes,
    restart_peak,
)
from megatron_codemix.bench.train.by_turns import LoopShape, measure_loop
from megatron_codemix.bench.train.gpu.job import OURS, PEER, LoopJob, StepJob, read_job
from megatron_codemix.bench.train.gpu.kernels import kernels_of
from megatron_codemix.bench.train.gpu.processes import JOB, RESULT
from megatron_codemix.bench.train.gpu.sides import Ours, Peer, Side, peer_words
from megatron_codemix.bench.train.gpu.timing import BLOCK, by_turns, timed, warm_up
from megatron_codemix.bench.train.setting import one_rank
from megatron_codemix.files import read_json_object, write_json
from megatron_codemix.mcore.groups import ModelParallel

_FIRST_ALONE = 5
"""Steps of the loop whose data were read while the bare steps still had their turns."""


def main(folder: Path) -> int:
    """Runs the job of the folder and leaves RESULT in it."""
    job = read_job(read_json_object(folder / JOB))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # megatron-core warns of its own defaults
        if isinstance(job, LoopJob):
            write_json(folder / RESULT, measure_loop_job(job, folder))
        else:
            measure_step_job(job, folder)
    return 0


def measure_step_job(job: StepJob, folder: Path) -> None:
    """Writes by side what was measured, and `by_turns` where both were timed so; `out_of_memory`
    has the side that did not fit (`both`: together), what the device said, and how much of it was
    taken before there was anything of ours. The profiler comes last: what it leaves behind is in
    nobody's time."""
    found: dict[str, Any] = {}
    built: dict[str, Side] = {}
    with one_rank(folder, job.backend) as (parallel, backend):
        taken = _taken_bytes(backend)
        for name in job.sides:
            give_memory_back(backend)
            before = held_bytes(backend)
            try:
                built[name] = _build(name, job, parallel, backend)
                found[name] = _measure(built[name], job, before, backend)
                if name == PEER:
                    found[name]["what"] = peer_words(is_compiled=job.is_compiled)
            except torch.OutOfMemoryError as error:
                built.pop(name, None)
                found["out_of_memory"] = _out_of_memory(name, error, taken)
            write_json(folder / RESULT, found)
        if len(built) == 2:
            try:
                turns = {name: side.step for name, side in built.items()}
                for name, seconds in by_turns(turns, job.steps, backend).items():
                    found[name] |= _of_seconds(seconds)
                found["by_turns"] = True
            except torch.OutOfMemoryError as error:
                found["out_of_memory"] = _out_of_memory("both", error, taken)
            write_json(folder / RESULT, found)
        for name, side in built.items():
            # Each is written at once: the profiler may take the process with it.
            found[name] |= kernels_of(side.step, backend, folder)
            write_json(folder / RESULT, found)


def _build(name: str, job: StepJob, parallel: ModelParallel, backend: Backend) -> Side:
    if name == OURS:
        return Ours(
            job.model,
            job.precision,
            job.sequence,
            job.sequences,
            parallel,
            backend,
            job.backend,
        )
    return Peer(job.model, job.sequence, job.sequences, backend, is_compiled=job.is_compiled)


def _measure(
    side: Side, job: StepJob, held: int, backend: Backend
) -> dict[str, Any]:  # Any: JSON values
    """Its figures by itself; of ours with nothing beside it. held: bytes that were there before."""
    warm = warm_up(side.step, backend, job.warmth)
    if isinstance(side, Ours):
        side.require_graphs()
    restart_peak(backend)
    figures = _of_seconds(timed(side.step, job.steps, backend))
    peak = peak_bytes(backend)
    return {
        **figures,
        # What rows are compared by: the other times become those by turns where there is a peer.
        "alone_step_seconds": figures["step_seconds"],
        "warm_up_steps": warm.steps,
        "is_settled": warm.is_settled,
        "peak_memory_bytes": None if peak is None else peak.allocated - held,
        "process_reserved_bytes": None if peak is None else peak.reserved,
        "kernels": None,
    }


def _of_seconds(seconds: list[float]) -> dict[str, Any]:
    return {"step_seconds": statistics.median(seconds), "all_step_seconds": seconds}


def _taken_bytes(backend: Backend) -> int | None:
    """Of the device's memory, by others and by CUDA itself; None where it has none of its own."""
    memory = backend.memory()
    if memory is None:
        return None
    return memory.total_bytes - memory.free_bytes - memory.reserved_bytes


def _out_of_memory(
    side: str, error: torch.OutOfMemoryError, taken: int | None
) -> dict[str, str | int | None]:
    said = str(error).split("\n")[0]
    return {"side": side, "said": said, "taken_before_bytes": taken}


def measure_loop_job(job: LoopJob, folder: Path) -> dict[str, Any]:  # Any: JSON values
    """Medians, by the clock; waits for data are those of the loop alone."""
    shape = LoopShape(
        model=job.model,
        sequence=job.sequence,
        sequences=job.sequences,
        precision="bf16",
        num_steps=job.steps,
        num_steps_alone=_FIRST_ALONE + job.steps,
        data_vocabulary=job.data_vocabulary,
        block=BLOCK,
    )
    costs = measure_loop(shape, folder, job.backend)
    waits = costs.data_wait_seconds[_FIRST_ALONE:]
    return {
        "loop_seconds": statistics.median(cost.wall for cost in costs.loop),
        "bare_seconds": statistics.median(cost.wall for cost in costs.bare),
        "data_wait_seconds": statistics.median(waits),
        "most_data_wait_seconds": max(waits),
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
