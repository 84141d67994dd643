"""What one process of a training job does, whoever started it."""

import logging

import torch.distributed

from megatron_codemix.backend import initialize_process_group, select_backend
from megatron_codemix.errors import CodemixError, PreemptedError
from megatron_codemix.files import write_json
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.mcore.groups import initialize_model_parallel
from megatron_codemix.obs.log import setup_logging
from megatron_codemix.train.phase import Phase, record_failure
from megatron_codemix.train.provenance import provenance
from megatron_codemix.train.trainer import Trainer

log = logging.getLogger(__name__)


def train_rank(phase: Phase, attempt: int, context: RankContext) -> None:
    """Trains this rank's part of the phase. Raises what went wrong, after it stands in the run's
    status."""
    folder = phase.run.attempt(attempt)
    setup_logging(context.rank, folder / f"rank{context.rank}.log")
    try:
        _train(phase, attempt, context)
    except PreemptedError as error:
        if context.rank == 0:
            record_failure(phase.run, str(error), is_failure=False)
        raise
    except Exception as error:
        record_failure(phase.run, f"rank {context.rank}: {error}", is_failure=True)
        if not isinstance(error, CodemixError):
            log.exception("rank %d failed", context.rank)
        raise


def _train(phase: Phase, attempt: int, context: RankContext) -> None:
    backend = select_backend(phase.config.backend.device, context.local_rank)
    backend.prepare()
    initialize_process_group(
        backend,
        rank=context.rank,
        world_size=context.world_size,
        init_method=context.init_method,
    )
    layout = phase.config.layout
    parallel = initialize_model_parallel(layout, phase.config.train.seed)
    log.info(
        "%d ranks on %s (%s): tensor %d x pipeline %d x data %d",
        context.world_size,
        backend.name,
        backend.collectives,
        layout.tensor,
        layout.pipeline,
        parallel.data_size,
    )
    if context.rank == 0:
        write_json(
            phase.run.attempt(attempt) / "provenance.json", provenance(phase.data, backend.name)
        )
    Trainer(phase, parallel, backend).run()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
