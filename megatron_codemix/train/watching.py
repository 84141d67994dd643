"""Who watches a run: ends it where it hangs, and names the ranks that hold up the others."""

import contextlib
import datetime
from collections.abc import Callable, Iterator

from megatron_codemix.backend.roll_call import ANSWER_TIMEOUT, RollCall, groups_of_messages
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.train.phase import Phase, record_failure
from megatron_codemix.train.watchdog import Watchdog, longest_step_seconds


@contextlib.contextmanager
def watched(
    phase: Phase, parallel: ModelParallel, tell_end: Callable[[str], None] = lambda message: None
) -> Iterator[Watchdog]:
    """While entered, this rank expects the watchdog's beats, and answers who asks where it stands.
    Every rank enters it.

    tell_end: told why, before the watchdog ends this process.
    """
    survival = phase.config.survival
    floor = datetime.timedelta(seconds=survival.hang_floor_seconds)
    roll_call = RollCall(
        rank=parallel.rank,
        world_size=parallel.world_size,
        uncounted=groups_of_messages(
            parallel.groups.pp, is_interleaved=phase.config.layout.virtual_pipeline > 1
        ),
        answer_timeout=min(ANSWER_TIMEOUT, floor),
    )

    def record(message: str) -> None:
        tell_end(f"{phase.run.path}: {message}")
        record_failure(phase.run, f"rank {parallel.rank}: {message}", is_failure=True)

    watchdog = Watchdog(
        factor=survival.hang_factor,
        floor_seconds=survival.hang_floor_seconds,
        start_seconds=survival.hang_start_seconds,
        most_seconds=longest_step_seconds(survival),
        diagnose=roll_call.who_is_missing,
        on_hang=record,
    )
    with roll_call, watchdog:
        yield watchdog
