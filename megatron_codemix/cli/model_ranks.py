"""The processes that hold a run's model for a command, and the options that say how."""

import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megatron_codemix.backend.environment import may_import_before_forks, prepare_environment
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import EXIT_DONE
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.garbage import no_search_for_garbage
from megatron_codemix.launch.crowding import require_room
from megatron_codemix.launch.placement import RankContext, rank_context_from_environment
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.obs.log import setup_logging
from megatron_codemix.run_checkpoints import checkpoint_of
from megatron_codemix.runs import RunDirectory

if TYPE_CHECKING:
    from megatron_codemix.evaluation.engine.requests import LanguageModel

RunArgument = Annotated[
    Path, typer.Argument(help="Run directory: of a finished run, or with --step of any.")
]
Step = Annotated[
    int | None,
    typer.Option(min=0, help="The checkpoint after so many steps; default: the last."),
]
Nproc = Annotated[int, typer.Option(min=1, help="Processes; ignored under torchrun and srun.")]
Tensor = Annotated[int, typer.Option(min=1, help="Processes that a layer is cut over.")]
Pipeline = Annotated[int, typer.Option(min=1, help="Processes that the layers are dealt over.")]
MaxBatchTokens = Annotated[
    int | None, typer.Option(min=1, help="Tokens in one forward pass; default: by device.")
]


@dataclass(frozen=True)
class ModelRanks:
    """Of one run, whose checkpoint is whole."""

    directory: RunDirectory
    config: RunConfig
    step: int | None
    """Of the checkpoint; None: the last of a finished run."""
    layout: EvaluationLayout
    num_processes: int
    max_batch_tokens: int | None
    context: RankContext | None = field(default_factory=rank_context_from_environment)
    """Of this process, where torchrun or srun has made it a rank."""

    @classmethod
    def of(
        cls,
        run: Path,
        nproc: int,
        tensor: int,
        pipeline: int,
        max_batch_tokens: int | None,
        step: int | None,
    ) -> "ModelRanks":
        """Raises RunError where there is no such checkpoint, ConfigError for a layout that the
        model or the processes cannot have, UnavailableError for more processes than memory can
        hold."""
        directory = RunDirectory(run)
        directory.require_config()
        checkpoint_of(directory, step)
        config = load_run_config(directory.config)
        layout = EvaluationLayout(tensor=tensor, pipeline=pipeline)
        ranks = cls(directory, config, step, layout, nproc, max_batch_tokens)
        layout.check(config, ranks.world_size)
        if ranks.context is None:
            require_room(nproc)
        prepare_environment(config.backend.device)
        return ranks

    @property
    def world_size(self) -> int:
        """All processes."""
        return self.num_processes if self.context is None else self.context.world_size

    @property
    def is_first(self) -> bool:
        """Whether this process is rank 0, or will start it."""
        return self.context is None or self.context.rank == 0

    @property
    def sizes(self) -> dict[str, int]:
        """Of each kind of parallelism; data-parallel is what the others leave."""
        copies = self.world_size // (self.layout.tensor * self.layout.pipeline)
        return asdict(self.layout) | {"data": copies}

    def run(
        self,
        body: "Callable[[LanguageModel], None]",
        *,
        log_folder: Path | None = None,
        is_server: bool = False,
    ) -> None:
        """Loads the model over all ranks and has rank 0 carry out `body`.

        log_folder: for a log of each rank; absent: none are kept.
        is_server: SIGTERM is for `body`, which ends the other ranks once it is done.
        """

        def rank_main(rank: RankContext) -> int:
            from megatron_codemix.evaluation.engine.model import run_with_model

            # Always a file, so that the warnings of libraries go there and not to the screen.
            name = f"rank{rank.rank}.log"
            setup_logging(rank.rank, log_folder / name if log_folder else Path(os.devnull))
            if is_server and rank.rank > 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            run_with_model(
                self.directory,
                self.layout,
                rank,
                body,
                step=self.step,
                max_batch_tokens=self.max_batch_tokens,
            )
            return EXIT_DONE

        if self.context is not None:
            _import_engine()
            rank_main(self.context)
            return
        prepare = _import_engine if may_import_before_forks(self.config.backend.device) else None
        code = run_ranks(rank_main, self.num_processes, prepare=prepare, log_folder=log_folder)
        if code != EXIT_DONE:
            raise typer.Exit(code)


def _import_engine() -> None:
    with no_search_for_garbage():
        import megatron_codemix.evaluation.engine.model  # noqa: F401  # for its imports
