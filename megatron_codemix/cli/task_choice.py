"""Which tasks a command asks for, and their data."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from megatron_codemix.cli.model_ranks import ModelRanks
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.held_out import held_out_sources
from megatron_codemix.data.tokenizer import tokenizer_hash
from megatron_codemix.errors import ConfigError, UnavailableError
from megatron_codemix.evaluation.heldout import HeldOutTask
from megatron_codemix.evaluation.safety.options import SafetyOptions
from megatron_codemix.evaluation.safety.prepare import SAFETY, SAFETY_TASKS, prepare_safety
from megatron_codemix.evaluation.tasks.run import Task
from megatron_codemix.files import Json
from megatron_codemix.runs import HELDOUT


@dataclass(frozen=True, kw_only=True)
class TaskChoice:
    """What is asked for, as given."""

    names: Sequence[str]
    max_bytes_per_source: int = 0
    held_out_of: Path | None = None
    """A run configuration whose held-out documents are scored in place of the run's own."""
    data_dir: Path | None = None
    skip_missing: bool = False
    limit: int | None = None
    samples: int = 1
    temperature: float = 0.8
    unsafe: bool = False

    def record(self) -> dict[str, Json]:
        """For a study, which asks whether it is what it wants."""
        return {
            "names": [name for name in self.names if name != HELDOUT],
            "data_dir": None if self.data_dir is None else str(self.data_dir.absolute()),
            "limit": self.limit,
        }


def prepare_tasks(ranks: ModelRanks, wanted: TaskChoice) -> list[Task]:
    """The tasks with their data, all problems with it found before a process is started."""
    names = list(dict.fromkeys(wanted.names))
    found: list[Task] = []
    if HELDOUT in names:
        names.remove(HELDOUT)
        config = _held_out_config(ranks.config, wanted.held_out_of)
        sources = held_out_sources(config, wanted.max_bytes_per_source)
        found.append(HeldOutTask(sources, wanted.max_bytes_per_source))
    safety = [name for name in SAFETY_TASKS if name in names or SAFETY in names]
    names = [name for name in names if not _is_own(name)]
    if safety:
        found += prepare_safety(safety, ranks.config, ranks.directory, _safety_options(wanted))
    return found + (_harness_tasks(names, wanted) if names else [])


def _held_out_config(own: RunConfig, other: Path | None) -> RunConfig:
    """The configuration whose held-out documents are meant. Raises ConfigError where the model
    does not know its tokens."""
    if other is None:
        return own
    config = load_run_config(other)
    if tokenizer_hash(config.tokenizer.path) != tokenizer_hash(own.tokenizer.path):
        raise ConfigError(
            [
                f"--held-out-of {other}: has the tokenizer {config.tokenizer.path}, and the run's "
                f"is {own.tokenizer.path}, which is another; give a configuration with the run's"
            ]
        )
    return config


def _safety_options(wanted: TaskChoice) -> SafetyOptions:
    options = SafetyOptions(unsafe=wanted.unsafe)
    return options if wanted.limit is None else options.limited(wanted.limit)


def _harness_tasks(names: Sequence[str], wanted: TaskChoice) -> list[Task]:
    _require_harness(names)
    from megatron_codemix.evaluation.harness.prepared import harness_tasks
    from megatron_codemix.evaluation.suites.prepare import ProgramOptions

    programs = ProgramOptions(wanted.samples, wanted.temperature, wanted.unsafe)
    return harness_tasks(
        names, wanted.data_dir, wanted.limit, programs, skip_missing=wanted.skip_missing
    )


def _require_harness(names: Sequence[str]) -> None:
    """Raises UnavailableError where lm-evaluation-harness is not installed; prepares its import."""
    if find_spec("lm_eval") is None:
        raise UnavailableError(
            f"{', '.join(names)}: needs lm-evaluation-harness; install the extra: "
            "pip install 'megatron_codemix[eval]'"
        )
    # Read when it is imported, so this comes first. Its bars are many and say little; data comes
    # from files and caches, never from the network.
    for name in ("TQDM_DISABLE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ[name] = "1"


def require_tasks(choice: TaskChoice, *, with_data: bool) -> None:
    """Raises what an evaluation would: ConfigError for unknown names, and with `with_data`
    DataError for what is missing or wrong."""
    names = [name for name in choice.names if not _is_own(name)]
    if not names:
        return
    _require_harness(names)
    if with_data:
        _harness_tasks(names, choice)
        return
    from megatron_codemix.evaluation.suites.prepare import expand

    expand(names)


def _is_own(name: str) -> bool:
    """Whether it is no task of the harness's."""
    return name in (HELDOUT, SAFETY) or name in SAFETY_TASKS
