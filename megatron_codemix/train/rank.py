"""What one process of a training job does, whoever started it."""

import contextlib
import functools
import gc
import logging
from collections.abc import Callable
from pathlib import Path

import torch.distributed

from megatron_codemix.backend.devices import Backend
from megatron_codemix.backend.engine import engine_problem
from megatron_codemix.config.plan import layout_text
from megatron_codemix.errors import CodemixError, PreemptedError
from megatron_codemix.files import write_json
from megatron_codemix.launch.failures import tells_of_lost_peer
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.rank_process import tell_failure
from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess
from megatron_codemix.mcore.groups import ModelParallel, initialize_model_parallel
from megatron_codemix.mcore.rank import start_rank
from megatron_codemix.mcore.tensor_overlap import overlap_buffers
from megatron_codemix.obs.log import setup_logging
from megatron_codemix.train.health import SkipStepError, record_skip
from megatron_codemix.train.memory import out_of_memory_told, require_memory
from megatron_codemix.train.memory_plan import MemoryPlan
from megatron_codemix.train.phase import Phase, record_failure, start_attempt
from megatron_codemix.train.provenance import provenance
from megatron_codemix.train.trainer import Trainer
from megatron_codemix.train.watchdog import collective_timeout
from megatron_codemix.train.watching import watched

log = logging.getLogger(__name__)


def train_rank(
    phase: Phase,
    context: RankContext,
    attempt: int | None = None,
    *,
    profile: bool = False,
    plan: MemoryPlan | None = None,
) -> None:
    """Trains this rank's part of the phase. Raises what went wrong, after it stands in the run's
    status.

    attempt: the start that is counted already; absent where each rank was started by itself: then
    rank 0 counts it and tells the others.
    profile: leave a profile of a few steps in the attempt's folder.
    plan: of the memory of a GPU; absent: it is not compared.
    """
    try:
        _train(phase, context, attempt, profile, plan)
    except PreemptedError as error:
        if context.rank == 0:
            record_failure(phase.run, str(error), is_failure=False)
        raise
    except Exception as error:
        is_consequence = tells_of_lost_peer(str(error))
        what = str(error) if isinstance(error, CodemixError) else f"{type(error).__name__}: {error}"
        # Our own launcher knows the cause, or notes the death of a rank that could not say it.
        if not is_consequence or attempt is None:
            record_failure(phase.run, f"rank {context.rank}: {what}", is_failure=True)
        if is_consequence:
            log.warning("rank %d has lost another rank, which is the cause", context.rank)
        elif not isinstance(error, CodemixError):
            log.exception("rank %d failed", context.rank)
        raise


def _train(
    phase: Phase,
    context: RankContext,
    attempt: int | None,
    profile: bool,
    plan: MemoryPlan | None,
) -> None:
    timeout = collective_timeout(phase.config.survival)
    backend = start_rank(phase.config.backend.device, context, timeout)
    if attempt is None:
        attempt = _agree_on_attempt(phase, context)
    setup_logging(context.rank, phase.run.attempt(attempt) / f"rank{context.rank}.log")
    layout = phase.config.layout
    parallel = initialize_model_parallel(
        layout,
        phase.config.train.seed,
        timeout,
        is_recorded=phase.config.backend.cuda_graphs != "none",
    )
    log.info(
        "%d ranks on %s (%s): %s",
        context.world_size,
        backend.name,
        backend.collectives,
        layout_text(layout, parallel.data_size),
    )
    if context.rank == 0 and (problem := engine_problem()):
        log.warning("Transformer Engine does not load, going on without it: %s", problem)
    if context.rank == 0:
        record = provenance(phase.data, backend=backend.name, device=backend.device_name)
        write_json(phase.run.attempt(attempt) / "provenance.json", record)
    folder = phase.run.attempt(attempt) / "profile" if profile else None
    tell_end = functools.partial(tell_failure, context)
    stage, memory = parallel.pipeline_rank, backend.memory()
    if plan is not None and memory is not None:
        require_memory(plan, memory, stage=stage, device_name=backend.device_name)
    with (
        out_of_memory_told(plan, backend, stage=stage),
        overlap_buffers(phase.config, parallel, backend),
    ):
        while not _train_to_end(phase, parallel, backend, folder, tell_end):
            gc.collect()  # the model that went wrong, before the next one is built
    torch.distributed.destroy_process_group()


def _train_to_end(
    phase: Phase,
    parallel: ModelParallel,
    backend: Backend,
    profile_folder: Path | None = None,
    tell_end: Callable[[str], None] = lambda message: None,
) -> bool:
    """False where a step has gone wrong and is now on the list of those to pass over; returns when
    all ranks have come so far.

    tell_end: told why, where the watchdog ends this process.
    """
    # First: it is forked while this process is small, and before the threads of what watches it.
    writer = CheckpointProcess(backend)
    has_graphs = phase.config.backend.cuda_graphs != "none"
    with (
        backend.recordable() if has_graphs else contextlib.nullcontext(),
        watched(phase, parallel, tell_end) as watchdog,
    ):
        watchdog.prepare("building the model")
        trainer = Trainer(phase, parallel, backend, writer, profile_folder)
        try:
            trainer.run(watchdog)
            is_done = True
        except SkipStepError as skip:
            log.warning("%s: going back to the last checkpoint, to pass over this step", skip)
            if parallel.rank == 0:
                record_skip(phase.run, skip, max_skips=phase.config.survival.max_skips)
            is_done = False
        watchdog.beat("the end" if is_done else "going back")
        torch.distributed.barrier()
    return is_done


def _agree_on_attempt(phase: Phase, context: RankContext) -> int:
    number = [start_attempt(phase) if context.rank == 0 else None]
    torch.distributed.broadcast_object_list(number, src=0)
    assert number[0] is not None, "rank 0 has counted this start"
    return number[0]
