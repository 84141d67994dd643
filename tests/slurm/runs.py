"""The run that jobs of these tests train, and the same without SLURM."""

from pathlib import Path

from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.helpers.tiny import SEQUENCE, write_run

NUM_STEPS = 100
SAVE_EVERY = 20
DISTURBED_AT = 24
"""Behind the first checkpoint, and far enough from the end: tests suspend the ranks there, and once
more ten steps later."""
PATIENCE_SECONDS = 240
"""A start, or a whole run: seconds where the machine is idle, minutes where it is not."""
_STEP_TOKENS = 8 * SEQUENCE


def write_config(folder: Path) -> Path:
    """A small model, its data in `folder`; a fake GPU is none to train on."""
    return write_run(
        folder,
        train={"train_tokens": NUM_STEPS * _STEP_TOKENS},
        checkpoint={"save_every_tokens": SAVE_EVERY * _STEP_TOKENS},
        backend={"device": "cpu"},
    )


def train_here(config: Path, num_ranks: int) -> RunDirectory:
    """Trained by one command on this machine, undisturbed."""
    run = config.parent / f"of_{num_ranks}_ranks"
    done = codemix("train", config, "--run-dir", run, "--nproc", str(num_ranks))
    assert done.returncode == 0, done.stderr
    return RunDirectory(run)
