"""How a command ends: what escapes from it becomes a readable block and an exit code."""

import sys
import traceback
from collections.abc import Callable

from megatron_codemix.errors import EXIT_BUG, CodemixError, RetryableError

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_INTERRUPTED = "interrupted; what was saved is kept: give the same command again"


class Interrupted(Exception):  # noqa: N818  # not an error
    """Ctrl-C, under a name that typer does not take for its own."""


def run_readably(work: Callable[[], int], *, is_debug: bool = False) -> int:
    """The exit code that `work` returns, or that of what it raised, which is told on stderr.

    is_debug: input errors too with a traceback; bugs have one in any case.
    """
    try:
        return work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except (KeyboardInterrupt, Interrupted):
        print(_INTERRUPTED, file=sys.stderr)
        return EXIT_INTERRUPTED
    except CodemixError as error:
        if is_debug:
            traceback.print_exc()
        print(error_block(error), file=sys.stderr)
        return error.exit_code
    except Exception as error:
        # Here: Ctrl-C while this module is being imported is not told readably.
        from megatron_codemix.files import unusable_path

        refused = unusable_path(error) if isinstance(error, OSError) else None
        if refused is not None and not is_debug:
            print(error_block(refused), file=sys.stderr)
            return refused.exit_code
        traceback.print_exc()
        name = type(error).__name__
        print(
            f"error: this is a bug in codemix ({name}); please report it with the traceback above",
            file=sys.stderr,
        )
        return EXIT_BUG


def error_block(error: CodemixError) -> str:
    """What the user sees: a line for each problem."""
    lines = [f"error: {problem}" for problem in error.problems]
    if isinstance(error, RetryableError):
        lines.append("the same command may succeed later")
    return "\n".join(lines)
