"""What watches a run knows of it."""

import socket
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.errors import EXIT_RETRY
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.runs import RunDirectory
from megatron_codemix.train.phase import prepare_phase, start_attempt
from tests.helpers.ranks import run_distributed
from tests.helpers.tiny import SEQUENCE, write_run
from tests.helpers.training import train_run

TWO_STAGES = [
    "model.num_layers=4",
    "layout.pipeline=2",
    "layout.virtual_pipeline=2",
    f"train.train_tokens={8 * SEQUENCE}",
    "schedule.warmup_tokens=0",
]


def train(context: RankContext, config: Path, run: Path) -> tuple[bool, bool, set[str]]:
    """A step of two interleaved stages: whether this one has sent over the group of all ranks,
    whether the roll call counts none of the groups it has sent over, and threads while a checkpoint
    would be read."""
    import torch.distributed

    from megatron_codemix.backend.roll_call import RollCall
    from megatron_codemix.train import trainer, watching

    uncounted: list[object] = []
    sent: list[object] = []
    threads: set[str] = set()
    start, send = trainer.starting_record, torch.distributed.isend

    class KeptRollCall(RollCall):
        def __init__(self, **options: Any) -> None:
            uncounted.extend(options["uncounted"])
            super().__init__(**options)

    def isend(*arguments: Any, **options: Any) -> Any:
        sent.append(options["group"])
        return send(*arguments, **options)

    def starting_record(*arguments: Any) -> Any:
        threads.update(thread.name for thread in threading.enumerate())
        return start(*arguments)

    watching.RollCall = KeptRollCall  # type: ignore[misc]
    torch.distributed.isend = isend
    trainer.starting_record = starting_record
    train_run(context, config, TWO_STAGES, run)
    are_left_out = all(any(group is one for one in uncounted) for group in sent)
    return torch.distributed.group.WORLD in sent, are_left_out, threads


def test_messages_are_not_counted_and_the_start_is_watched(tmp_path: Path) -> None:
    """gloo counts messages as collectives. Over all ranks go those of one direction."""
    found = run_distributed(train, 2, write_run(tmp_path / "data"), tmp_path / "run")
    assert any(is_over_all for is_over_all, _, _ in found)
    for _, are_left_out, threads in found:
        assert are_left_out
        assert {"watchdog", "roll call"} <= threads


def test_a_rank_that_hangs_while_the_model_is_built_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is alive, and in a place where it waits for nobody in particular."""
    config, run = write_run(tmp_path / "data"), RunDirectory(tmp_path / "run")
    phase = prepare_phase(config, ["survival.hang_start_seconds=15"], run.path, 2)
    attempt = start_attempt(phase)

    def target(context: RankContext) -> int:
        from megatron_codemix.mcore import build
        from megatron_codemix.train import rank

        def hang(*arguments: Any, **options: Any) -> Any:
            time.sleep(600)

        if context.rank == 1:
            build.build_model = hang
        warnings.simplefilter("ignore")  # megatron-core warns of its own defaults
        rank.train_rank(phase, context, attempt)
        return 0

    assert run_ranks(target, 2, grace_seconds=0.2) == EXIT_RETRY
    told = capfd.readouterr().err.split("error: ")[1]
    assert "hangs: building the model has taken" in told
    assert f"1 on {socket.gethostname()}, in mcore/build.py" in told
    status = run.read_status()
    assert status is not None
    assert (status.state, status.failures) == ("failed", 1)
