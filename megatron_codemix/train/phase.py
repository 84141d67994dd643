"""A phase before it runs: every check that needs no process group, and the record of its attempts.
Free of torch, so a wrong input is answered at once."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from megatron_codemix.backend.environment import (
    require_device,
    require_engine,
    require_engine_options,
    require_graphs,
    require_overrides,
    require_precision,
)
from megatron_codemix.config.checks import check_config
from megatron_codemix.config.layout_checks import check_layout
from megatron_codemix.config.learning_rate import LearningRate, Link, learning_rate
from megatron_codemix.config.loader import dump_yaml, load_run_config, with_absolute_paths
from megatron_codemix.config.parameters import checkpoint_bytes
from megatron_codemix.config.parent_checks import check_like_parent
from megatron_codemix.config.plan import RunPlan, make_plan, train_tokens
from megatron_codemix.config.schedule_checks import check_chain_length, check_parent_schedule
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.loading.dali import require_dali
from megatron_codemix.data.needs import check_held_out
from megatron_codemix.data.resolve import DataPlan, resolve_data
from megatron_codemix.errors import ConfigError, RunError, UnavailableError
from megatron_codemix.files import require_free_bytes, write_json, write_text
from megatron_codemix.lineage import Ancestor, parent_checkpoint, parents_of
from megatron_codemix.obs.trackers import require_tracker
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
from megatron_codemix.train.change import changed_identity
from megatron_codemix.units import format_bytes


@dataclass(frozen=True, kw_only=True)
class Phase:
    """All that one run needs, worked out before the first process group is started."""

    config: RunConfig
    plan: RunPlan
    data: DataPlan
    run: RunDirectory
    identity: str
    learning_rate: LearningRate
    earlier_identity: str | None = None
    """What the run was before its mixture was changed for the steps to come."""

    def claim(self) -> Status:
        """Status of the run, under this identity. Raises RunError if it is another run's."""
        return self.run.claim(self.identity, earlier=self.earlier_identity)


def prepare_phase(
    config_path: Path,
    overrides: Sequence[str],
    run_folder: Path | None,
    world_size: int,
    *,
    runs_here: bool = True,
) -> Phase:
    """Reads and checks everything. Writes nothing.

    run_folder: absent: `runs/<name of the configuration file>/train-<identity8>`.
    runs_here: whether this machine's device and free disk are asked as well.
    Raises CodemixError with all that is wrong.
    """
    config = with_absolute_paths(load_run_config(config_path, overrides))
    problems = [*check_config(config), *check_layout(config, world_size)]
    if problems:
        raise ConfigError(problems)
    if runs_here:
        require_device(config.backend.device)
        require_graphs(config.backend)
        require_overrides(config)
        require_precision(config.precision, config.backend.device)
        require_engine(config.backend)
        require_engine_options(config)
    if runs_here and config.data.loader == "dali":
        require_dali()
    parents = parents_of(config)
    lost = _lost_start(config)
    if parents:
        _require_like_parent(config, parents)
    for package in ("tensorboard", "wandb"):
        if getattr(config.logging, package):
            require_tracker(package)
    if config.validation is not None:
        check_held_out(config)
    try:
        data = resolve_data(config)
    except RunError as error:  # where the parent has not come so far, its ledger has not either
        raise lost or error from None
    data.dataset()  # refuses a sequence longer than a shard, or samples unlike the parent's
    identity = data.identity(config)
    run = RunDirectory(run_folder or Path("runs") / config_path.stem / f"train-{identity[:8]}")
    plan = make_plan(config, world_size)
    link = Link(config=config, tokens=plan.train_tokens)
    phase = Phase(
        config=config,
        plan=plan,
        data=data,
        run=run,
        identity=identity,
        learning_rate=learning_rate([*(parent.link for parent in parents), link]),
        earlier_identity=changed_identity(run, config, data, plan.batches),
    )
    is_done = phase.claim().state == "done"
    if lost is not None and not is_done and not run.complete_steps():
        raise lost
    if runs_here:
        require_disk(run, config)
    return phase


def _lost_start(config: RunConfig) -> RunError | None:
    """Why the parent has not the checkpoint that a run with `config` begins with; None where it
    has. A run that has one of its own goes on from that."""
    try:
        if config.init_from is not None:
            parent_checkpoint(config.init_from)
    except RunError as error:
        return error
    return None


def _require_like_parent(config: RunConfig, parents: Sequence[Ancestor]) -> None:
    """Raises ConfigError unless the parent's model has these shapes, and the schedules of a chain
    are one curve."""
    parent = parents[-1]
    lengths = [*(one.tokens for one in parents), train_tokens(config)]
    problems = [
        *check_parent_schedule(config, parent.config),
        *check_chain_length(config, lengths),
        *check_like_parent(config, parent.config, f"the parent {parent.run.path}"),
    ]
    if problems:
        raise ConfigError(problems)


def save_config(phase: Phase) -> None:
    """Writes the resolved configuration into the run directory, and of a run that learns answers
    alone the chat template of its conversations."""
    write_text(phase.run.config, dump_yaml(phase.config))
    if phase.data.chat_template is not None:
        write_text(phase.run.chat_template, phase.data.chat_template.source)
    else:
        phase.run.chat_template.unlink(missing_ok=True)  # of a configuration that came before


def start_attempt(phase: Phase) -> int:
    """Counts one more start of the run, writes its resolved configuration and plan; the attempt's
    number. One process calls it."""
    status = phase.claim()
    number = status.attempts + 1
    folder = phase.run.attempt(number)
    folder.mkdir(parents=True, exist_ok=True)
    save_config(phase)
    record = phase.plan.as_dict() | {
        "layout": phase.config.layout.model_dump(mode="json"),
        "mixture": phase.data.mixture.as_dict(),
    }
    write_json(folder / "plan.json", record)
    phase.run.write_status(
        replace(
            status,
            attempts=number,
            state="running",
            num_steps=phase.plan.num_steps,
            last_error=None,
        )
    )
    return number


def record_failure(run: RunDirectory, error: str, *, is_failure: bool) -> None:
    """Notes in the status why an attempt ended; only failures count towards a cap on retries.

    Several ranks may fail at once: the first to write counts for the attempt.
    """
    status = run.read_status()
    if status is None or status.state != "running":
        return
    failures = status.failures + int(is_failure)
    state: Status = replace(
        status, state="failed" if is_failure else "pending", failures=failures, last_error=error
    )
    # On a full disk the error itself is what the user must see, not that it cannot be noted.
    with contextlib.suppress(UnavailableError):
        run.write_status(state)


def require_disk(run: RunDirectory, config: RunConfig) -> None:
    """Raises UnavailableError if the run's checkpoints will not fit; one more than is kept is held
    for a while, since the oldest goes only once the newest is complete."""
    each = checkpoint_bytes(config)
    held = len(run.complete_steps()) + len(run.incomplete_checkpoints())  # the latter are replaced
    missing = max(0, config.checkpoint.keep_last + 1 - held)
    purpose = f"keeping {config.checkpoint.keep_last} checkpoints of {format_bytes(each)}"
    require_free_bytes(run.path, missing * each, purpose)
