"""How a command ends: what escapes from it becomes a readable block and an exit code."""

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable

from megatron_codemix.errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_INPUT,
    CodemixError,
    RetryableError,
    UnavailableError,
)

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_INTERRUPTED = "interrupted; what was saved is kept: give the same command again"


class Interrupted(Exception):  # noqa: N818  # not an error
    """Ctrl-C, under a name that typer does not take for its own."""


def run_readably(work: Callable[[], int], *, is_debug: bool = False) -> int:
    """The exit code that `work` returns, or that of what it raised, which is told on stderr.

    is_debug: input errors too with a traceback; bugs have one in any case.
    """
    code = _exit_code(work, is_debug)
    return EXIT_INPUT if _drop_unwritten() and code == EXIT_DONE else code


def _exit_code(work: Callable[[], int], is_debug: bool) -> int:
    try:
        return work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except (KeyboardInterrupt, Interrupted):
        _tell(_INTERRUPTED)
        return EXIT_INTERRUPTED
    except CodemixError as error:
        if is_debug:
            _tell(traceback.format_exc().rstrip())
        _tell(error_block(error))
        return error.exit_code
    except Exception as error:
        refused = _readable(error) if isinstance(error, OSError) else None
        if refused is not None and not is_debug:
            _tell(error_block(refused))
            return refused.exit_code
        _tell(traceback.format_exc().rstrip())
        name = type(error).__name__
        _tell(
            f"error: this is a bug in codemix ({name}); please report it with the traceback above"
        )
        return EXIT_BUG


def _readable(error: OSError) -> CodemixError | None:
    """The error for a path that the system refuses, and for output that finds no room; None for
    others, such as a lost connection."""
    # Here: Ctrl-C while this module is being imported is not told readably.
    from megatron_codemix.files import unusable_path

    if error.filename is None and error.errno in _NO_ROOM:
        return UnavailableError(
            "the output cannot be written: the disk that it goes to is full, or its file may not "
            "grow; free some space and run the same command again"
        )
    return unusable_path(error)


def _tell(text: str) -> None:
    """On stderr, if that takes it: the disk that it goes to may be the one that is full."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _drop_unwritten() -> bool:
    """Whether output is lost for want of room. Python would try once more when it ends, and then
    end with exit code 120 in place of the command's."""
    is_lost = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            if error.errno in _NO_ROOM:
                is_lost = True
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
    return is_lost


def error_block(error: CodemixError) -> str:
    """What the user sees: a line for each problem."""
    lines = [f"error: {problem}" for problem in error.problems]
    if isinstance(error, RetryableError):
        lines.append("the same command may succeed later")
    return "\n".join(lines)
