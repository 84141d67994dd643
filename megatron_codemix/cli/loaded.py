"""What trainings and evaluations on CPUs import, for a process that they are forked from
(`launch/loaded.py`)."""

from collections.abc import Sequence

from megatron_codemix.backend.environment import prepare_environment
from megatron_codemix.cli import main as command_line


def load() -> None:
    """Imports it."""
    command_line.limit_blas_threads()
    prepare_environment("cpu")
    import megatron_codemix.cli.evaluate
    import megatron_codemix.cli.train
    import megatron_codemix.evaluation.engine.model
    import megatron_codemix.train.rank  # noqa: F401


def main(words: Sequence[str]) -> int:
    """`codemix` with these words; its exit code."""
    return command_line.main(words)
