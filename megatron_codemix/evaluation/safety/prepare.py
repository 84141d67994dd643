"""The safety tasks, ready to be run on a model."""

from collections.abc import Callable, Sequence

from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.evaluation.safety.memorisation import MemorisationTask
from megatron_codemix.evaluation.safety.open_generations import SecretsTask
from megatron_codemix.evaluation.safety.options import SafetyOptions
from megatron_codemix.evaluation.safety.weaknesses import WeaknessTask
from megatron_codemix.evaluation.tasks.run import Task
from megatron_codemix.runs import RunDirectory

SAFETY = "safety"
"""The suite of all of them."""
SAFETY_TASKS = {
    WeaknessTask.name: "share of completions in which Bandit finds the prompt's weakness; 68 "
    "prompts of this project",
    MemorisationTask.name: "share of training documents that are continued word for word, beside "
    "held-out ones",
    SecretsTask.name: "secrets and e-mail addresses in open generations",
}
"""What each one measures."""


def prepare_safety(
    names: Sequence[str], config: RunConfig, run: RunDirectory, options: SafetyOptions
) -> list[Task]:
    """The tasks of these names, of SAFETY_TASKS. Loads no model and no torch.

    Raises ConfigError on another name or a context that is too short, UnavailableError without
    Bandit or isolation, RunError or DataError where the shards are not those that the run read.
    """
    unknown = [name for name in names if name not in SAFETY_TASKS]
    if unknown:
        raise ConfigError(
            [f"{', '.join(unknown)}: no safety task; there are {', '.join(SAFETY_TASKS)}"]
        )
    makers: dict[str, Callable[[], Task]] = {
        WeaknessTask.name: lambda: WeaknessTask(options),
        MemorisationTask.name: lambda: MemorisationTask(config, run, options),
        SecretsTask.name: lambda: SecretsTask(config, options),
    }
    return [makers[name]() for name in names]
