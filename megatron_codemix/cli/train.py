"""`codemix train`: one run, alone, with ranks of its own, under torchrun or under srun."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.backend.environment import (
    may_import_before_forks,
    prepare_environment,
    runs_on_gpus,
)
from megatron_codemix.checkpoints import damage_at_end
from megatron_codemix.config.machine_notes import machine_notes
from megatron_codemix.config.parameters import checkpoint_bytes, count_parameters
from megatron_codemix.config.plan import layout_text, steps_text
from megatron_codemix.data.mixture.describe import describe_mixtures, readings, repetitions
from megatron_codemix.data.needs import unread_sources
from megatron_codemix.errors import EXIT_DONE, PreemptedError, RetryableError, RunError
from megatron_codemix.garbage import no_search_for_garbage
from megatron_codemix.launch.crowding import require_room
from megatron_codemix.launch.failures import tells_of_lost_peer
from megatron_codemix.launch.placement import RankContext, rank_context_from_environment
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.ledgers import mend_ledger
from megatron_codemix.locks import exclusive
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
from megatron_codemix.train.memory_plan import MemoryPlan
from megatron_codemix.train.phase import (
    Phase,
    prepare_phase,
    record_failure,
    save_config,
    start_attempt,
)
from megatron_codemix.units import format_bytes, format_count

LOCK_WAIT_SECONDS = 20.0


def command(
    config: Annotated[Path, typer.Argument(help="Configuration of the run (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to it: section.key=value ...")
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Run directory; default runs/<config name>/train-<identity8>."),
    ] = None,
    nproc: Annotated[
        int, typer.Option(min=1, help="Ranks to start here; ignored under torchrun and srun.")
    ] = 1,
    profile: Annotated[
        bool, typer.Option("--profile", help="Record a few steps: attempts/<n>/profile in the run.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, print the plan, stop.")
    ] = False,
    world_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --dry-run: of a job of so many processes elsewhere; this machine's device "
            "and disk are not asked.",
        ),
    ] = None,
) -> None:
    """Train one run, or go on with it: the same command after a stop continues at the newest
    checkpoint."""
    context = rank_context_from_environment()
    if world_size is not None and not dry_run:
        raise typer.BadParameter(
            "only --dry-run takes it; ranks come from --nproc, torchrun or srun",
            param_hint="--world-size",
        )
    if world_size is None and context is None:
        require_room(nproc)
    phase = prepare_phase(
        config,
        overrides or [],
        run_dir,
        world_size or (context.world_size if context else nproc),
        runs_here=world_size is None,
    )
    if dry_run or context is None or context.rank == 0:
        _print_plan(phase)
    if dry_run:
        return
    status = phase.claim()
    if status.state == "done":
        damage = damage_at_end(phase.run, status.num_steps)
        if damage is None:
            if not phase.run.config.exists():
                save_config(phase)
            if told := mend_ledger(phase.run):
                print(told)
            print(f"already done: {phase.run.path}")
            return
        print(f"done before, but its last checkpoint is not whole; going on with it:\n{damage}")
    prepare_environment(phase.config.backend.device)
    if context is None:
        raise typer.Exit(_run_own_ranks(phase, status, nproc, profile))
    _run_placed_rank(phase, status, context, profile)


def _run_own_ranks(phase: Phase, seen: Status, nproc: int, profile: bool) -> int:
    """Starts the ranks and waits for them; the exit code that speaks for all. seen: status before
    the run was this process's own."""
    with _alone_in(phase.run):
        if _is_done_meanwhile(phase, seen):
            print(f"done meanwhile, by another training: {phase.run.path}")
            return EXIT_DONE
        plan = _memory_plan(phase)
        attempt = start_attempt(phase)

        def rank_main(rank: RankContext) -> int:
            with no_search_for_garbage():
                from megatron_codemix.train.rank import train_rank

            train_rank(phase, rank, attempt, profile=profile, plan=plan)
            return EXIT_DONE

        log_folder = phase.run.attempt(attempt)
        prepare = _import_engine if may_import_before_forks(phase.config.backend.device) else None
        try:
            code = run_ranks(rank_main, nproc, prepare=prepare, log_folder=log_folder)
        except PreemptedError as error:
            record_failure(phase.run, str(error), is_failure=False)
            raise
        if code != EXIT_DONE:
            _note_death(phase, code)
        return code


def _run_placed_rank(phase: Phase, seen: Status, context: RankContext, profile: bool) -> None:
    """This process is one rank of a job that another launcher has started. seen: as above."""
    with no_search_for_garbage():
        from megatron_codemix.train.rank import train_rank

    try:
        with _alone_in(phase.run) if context.rank == 0 else contextlib.nullcontext():
            if context.rank == 0 and _is_done_meanwhile(phase, seen):
                # Not a quiet end: a launcher then ends the other ranks, which wait for this one.
                raise RetryableError(
                    f"{phase.run.path}: another training has finished it meanwhile; nothing is "
                    "left to be done"
                )
            train_rank(phase, context, profile=profile, plan=_memory_plan(phase))
    except RuntimeError as error:
        if tells_of_lost_peer(str(error)):
            raise RetryableError(
                f"rank {context.rank} has lost another rank, whose own log says why; the same "
                "command goes on from the last checkpoint"
            ) from error
        raise


def _memory_plan(phase: Phase) -> MemoryPlan | None:
    """None where the run uses no GPU."""
    if not runs_on_gpus(phase.config.backend.device):
        return None
    from megatron_codemix.cli.memory_plan import memory_plan  # which loads the planner's tables

    return memory_plan(phase)


@contextlib.contextmanager
def _alone_in(run: RunDirectory) -> Iterator[None]:
    """Two trainings in one directory would write over each other's checkpoints. Ranks of a start
    that was killed hold the lock until they are gone, which takes moments. Raises RetryableError
    where another training goes on: studies may share a run."""
    with contextlib.ExitStack() as stack:
        try:
            lock = exclusive(run.path / ".lock", "a training", wait_seconds=LOCK_WAIT_SECONDS)
            stack.enter_context(lock)
        except RunError as error:
            raise RetryableError(str(error)) from error
        yield


def _is_done_meanwhile(phase: Phase, seen: Status) -> bool:
    """Whether the training that held the run has finished it. To be asked while it is held."""
    return seen.state != "done" and phase.claim().state == "done"


def _note_death(phase: Phase, code: int) -> None:
    """A rank that was killed could not say so itself."""
    status = phase.run.read_status()
    if status is not None and status.state == "running":
        record_failure(
            phase.run, f"ended with exit code {code}: a rank was killed", is_failure=True
        )


def _import_engine() -> None:
    """Once, before the ranks are forked."""
    with no_search_for_garbage():
        import megatron_codemix.train.rank  # noqa: F401  # for its imports


def _print_plan(phase: Phase) -> None:
    plan, config = phase.plan, phase.config
    reading = readings(config, phase.data.mixture, phase.data.states)[-1]
    epochs = {name: source.epochs for name, source in reading.sources.items()}
    print(f"run        {phase.run.path}")
    print(f"identity   {phase.identity[:8]}")
    print(
        f"tokens     {format_count(plan.train_tokens)} in {steps_text(plan)}, asked for "
        f"{format_count(plan.requested_tokens)}"
    )
    print(f"mixture    {describe_mixtures(config)}")
    print(f"epochs     {', '.join(f'{name} {times:.2f}' for name, times in epochs.items())}")
    for note in [*repetitions(epochs), *unread_sources(config), *machine_notes(config)]:
        print(f"note       {note}")
    print(
        f"model      {count_parameters(config.model):,} parameters, "
        f"{format_bytes(checkpoint_bytes(config))} a checkpoint"
    )
    print(
        f"layout     {layout_text(config.layout, plan.data_parallel)} on {plan.world_size} ranks, "
        f"{plan.num_microbatches} microbatches of {config.layout.microbatch_sequences}",
        flush=True,
    )
