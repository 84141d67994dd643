"""The child's half of the rank launcher: a forked rank, and what it leaves behind when it fails."""

import faulthandler
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal

from megatron_codemix.errors import EXIT_BUG, EXIT_RETRY, CodemixError, ConfigError, PreemptedError
from megatron_codemix.files import unusable_path
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.processes import die_with
from megatron_codemix.stops import RememberedStop

Target = Callable[[RankContext], int]

FailureKind = Literal["error", "bug", "stopped", "killed", "aborted", "exited", "timeout"]

# Dumps the stacks of all threads of a rank into its log; for hangs, also by hand.
STACKS_SIGNAL = signal.SIGUSR2


@dataclass(frozen=True, kw_only=True)
class RankFailure:
    """Why a rank has ended with something other than 0."""

    rank: int
    exit_code: int
    kind: FailureKind
    """error: CodemixError; bug: another exception; stopped: in order, to go on later; killed: by a
    signal; aborted: by its own; exited: with a code and no exception; timeout: still running when
    time was up."""
    message: str
    seconds: float
    """Monotonic time when it was noticed; comparable between processes."""


@dataclass(frozen=True, kw_only=True)
class RankProcess:
    """What a rank needs to know of its surroundings."""

    parent_pid: int
    num_threads: int
    """For OpenMP, and so for torch."""
    forwarded: frozenset[signal.Signals]
    """Signals blocked while forking."""
    stop: RememberedStop | None
    """What the parent remembered before its ranks were forked."""
    log: int | None
    """Open file that takes stdout and stderr; None leaves them with the parent's."""
    record: int
    """Open file that the failure is written to."""


def run_rank(target: Target, context: RankContext, process: RankProcess) -> None:
    """Body of a forked rank; ends the process with the rank's exit code."""
    die_with(process.parent_pid)
    if process.log is not None:
        _redirect_output(process.log)
    _take_over_signals(process.forwarded, process.stop)
    _publish(context)
    _limit_threads(process.num_threads)
    sys.exit(_exit_code(target, replace(context, record=process.record), process))


def _exit_code(target: Target, context: RankContext, process: RankProcess) -> int:
    """Calls the target; what goes wrong ends in the record and, with its traceback, in the log."""

    def fail(exit_code: int, kind: FailureKind, message: str) -> int:
        _write_failure(process.record, context.rank, exit_code, kind, message)
        if process.log is not None:
            traceback.print_exc()
        return exit_code

    try:
        exit_code = target(context)
    except PreemptedError as error:
        return fail(error.exit_code, "stopped", str(error))
    except CodemixError as error:
        problems = error.problems if isinstance(error, ConfigError) else [str(error)]
        return fail(error.exit_code, "error", "\n".join(f"error: {each}" for each in problems))
    except Exception as error:
        refused = unusable_path(error) if isinstance(error, OSError) else None
        if refused is not None:
            return fail(refused.exit_code, "error", str(refused))
        return fail(EXIT_BUG, "bug", traceback.format_exc().rstrip())
    return fail(exit_code, "stopped", "") if exit_code == EXIT_RETRY else exit_code


def tell_failure(context: RankContext, message: str) -> None:
    """For a thread that is about to end the process with EXIT_RETRY, as no exception does then: the
    message goes to our launcher, and to stderr where another one has started the rank."""
    block = f"error: {message}"
    if context.record is None:
        sys.stderr.write(f"{block}\n(rank {context.rank} of {context.world_size})\n")
        sys.stderr.flush()
    else:
        _write_failure(context.record, context.rank, EXIT_RETRY, "error", block)


def _write_failure(record: int, rank: int, exit_code: int, kind: FailureKind, message: str) -> None:
    failure = RankFailure(
        rank=rank, exit_code=exit_code, kind=kind, message=message, seconds=time.monotonic()
    )
    os.write(record, json.dumps(asdict(failure)).encode())


def read_failure(record: int) -> RankFailure | None:
    """What a rank has written of its failure; None where it had no time to, or nothing to say."""
    try:
        return RankFailure(**json.loads(read_from_start(record)))
    except ValueError:  # nothing, or cut short by a kill
        return None


def read_from_start(descriptor: int) -> bytes:
    """The whole content of an open file, whose position stays where those who write have it."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _redirect_output(descriptor: int) -> None:
    """From here on stdout and stderr of this process, and of what it starts, are the file."""
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    # Line by line, so that a kill leaves what was said before it.
    sys.stdout = open(1, "w", buffering=1, closefd=False, encoding="utf-8")  # noqa: SIM115 - for good
    sys.stderr = open(2, "w", buffering=1, closefd=False, encoding="utf-8")  # noqa: SIM115 - for good


def _take_over_signals(forwarded: frozenset[signal.Signals], stop: RememberedStop | None) -> None:
    """Drops the parent's handlers. SIGINT, which a terminal sends to all, stays with the parent."""
    for number in forwarded:
        signal.signal(number, signal.SIG_DFL)
    if stop is not None and stop.received is not None:
        stop.listen()
    # Else the first signal ends a rank until it listens itself: one that waits for a rank that has
    # died, in a library, would not come to look at what it remembers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
    faulthandler.enable(file=2)
    faulthandler.register(STACKS_SIGNAL, file=2)


def _publish(context: RankContext) -> None:
    """The environment that torch, megatron-core and their libraries read."""
    address, port = context.init_method.removeprefix("tcp://").split(":")
    os.environ |= {
        "RANK": str(context.rank),
        "WORLD_SIZE": str(context.world_size),
        "LOCAL_RANK": str(context.local_rank),
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
    }
    # All ranks are on this machine: a host name that does not resolve must not keep gloo from
    # finding an address.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def _limit_threads(num_threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(num_threads)
    # OpenMP has read its environment if the parent has loaded torch; then only torch itself can
    # still set the number.
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(num_threads)
