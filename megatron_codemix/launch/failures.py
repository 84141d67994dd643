"""Which of the ranks' failures has led to the others, and how it is told."""

from collections.abc import Iterable
from pathlib import Path

from megatron_codemix.errors import EXIT_INPUT, EXIT_RETRY
from megatron_codemix.launch.rank_process import RankFailure

_LOST_PEER = (
    "Connection closed by peer",
    "Connection reset by peer",
    "remote process exited",
    "rank 0 has ended",  # as our own words are where its store is gone
)


def tells_of_lost_peer(message: str) -> bool:
    """Whether it is how a rank sees that another one is gone: a consequence, not the cause."""
    return any(text in message for text in _LOST_PEER)


def cause_of(failures: Iterable[RankFailure]) -> RankFailure:
    return min(failures, key=_precedence)


def _precedence(failure: RankFailure) -> tuple[int, float]:
    """Smallest for the failure that has led to the others.

    A rank that dies makes the others fail within milliseconds, so time alone does not tell.
    """
    if failure.kind == "stopped":
        order = 6
    elif failure.kind == "aborted":
        order = 4
    elif is_consequence(failure):
        # A watchdog's names the ranks that hang, whose end makes NCCL abort others.
        order = 5 if tells_of_lost_peer(failure.message) else 3
    elif failure.kind == "killed":
        order = 0
    else:
        order = 1 if failure.exit_code == EXIT_INPUT else 2
    return order, failure.seconds


def is_consequence(failure: RankFailure) -> bool:
    """Whether it may say no more than that another rank has gone: NCCL aborts the process then."""
    if failure.kind not in ("error", "bug"):
        return failure.kind == "aborted"
    return failure.exit_code == EXIT_RETRY or tells_of_lost_peer(failure.message)


def log_path(logs: Path, rank: int) -> Path:
    return logs / f"rank{rank}.log"


def describe(failure: RankFailure, num_ranks: int, log_folder: Path | None) -> str:
    """The one block on the screen."""
    if failure.kind == "stopped":
        return f"{failure.message}\n" if failure.message else ""
    who = f"rank {failure.rank} of {num_ranks}"
    log = ""
    if log_folder is not None and failure.rank > 0 and failure.kind != "error":
        log = f"\nlog: {log_path(log_folder, failure.rank)}"
    if failure.kind == "error":
        return f"{failure.message}\n({who})\n"
    if failure.kind == "bug":
        return f"{who} failed:\n{failure.message}{log}\n"
    return f"{who} {failure.message}{log}\n"
