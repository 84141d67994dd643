"""Where a run starts from: the checkpoint of its parent, and the phases behind it."""

from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.config.learning_rate import Link
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.plan import num_steps
from megatron_codemix.config.schema import InitFromConfig, RunConfig
from megatron_codemix.errors import RunError
from megatron_codemix.run_checkpoints import final_checkpoint, require_done
from megatron_codemix.runs import RunDirectory


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """A run, up to the checkpoint that the next one started from."""

    run: RunDirectory
    config: RunConfig
    step: int
    """Optimizer steps at that checkpoint; of the run that was asked about, all its steps."""

    @property
    def tokens(self) -> int:
        return batch_sizes(self.config).tokens(self.step)

    @property
    def link(self) -> Link:
        return Link(config=self.config, tokens=self.tokens)


def start_step(init_from: InitFromConfig, parent: RunConfig) -> int:
    """Steps of the parent at the checkpoint that `init_from` names."""
    if init_from.at_tokens is None:
        return num_steps(parent)
    return batch_sizes(parent).nearest_steps(init_from.at_tokens)


def chain_of(path: Path) -> list[Ancestor]:
    """The run and the runs that it started from, oldest first. Raises RunError."""
    chain: list[Ancestor] = []
    place: Path | None = path
    child: RunConfig | None = None
    while place is not None:
        run = RunDirectory(place)
        run.require_config()
        if any(run.path.resolve() == known.run.path.resolve() for known in chain):
            raise RunError(f"{place}: starts from itself; its configuration was changed by hand")
        config = load_run_config(run.config)
        origin = child.init_from if child else None
        step = start_step(origin, config) if origin else num_steps(config)
        chain.append(Ancestor(run=run, config=config, step=step))
        place, child = config.init_from.run if config.init_from else None, config
    return chain[::-1]


def parents_of(config: RunConfig) -> list[Ancestor]:
    """The runs that a new run with `config` goes back to, oldest first. Raises RunError."""
    if config.init_from is None:
        return []
    *older, parent = chain_of(config.init_from.run)
    step = start_step(config.init_from, parent.config)
    return [*older, Ancestor(run=parent.run, config=parent.config, step=step)]


def parent_checkpoint(init_from: InitFromConfig) -> Path:
    """The complete checkpoint that a run starts from. Raises RunError if it is not there."""
    parent = RunDirectory(init_from.run)
    if init_from.at_tokens is None:
        return final_checkpoint(parent)
    if parent.read_status() is None:
        require_done(parent)  # says that there is no run
    config = load_run_config(parent.config)
    step, batches = start_step(init_from, config), batch_sizes(config)
    saved = parent.complete_steps()
    if step not in saved:
        known = ", ".join(f"{batches.tokens(number):,}" for number in saved) or "none"
        raise RunError(
            f"{parent.checkpoint(step)}: no complete checkpoint at init_from.at_tokens (step "
            f"{step}); the run has them at these tokens: {known}; checkpoint.keep_every_tokens of "
            "the parent keeps more"
        )
    return parent.checkpoint(step)
