"""The errors a user may see. Anything else that escapes is a bug in this project.

`CodemixError` means that the input is wrong (exit code 2); `RetryableError` means that the same
command may succeed later (exit code 75, EX_TEMPFAIL of sysexits.h); every other exception is a bug
(exit code 1).
"""

from collections.abc import Sequence

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_INPUT = 2
EXIT_RETRY = 75


class CodemixError(Exception):
    """The user's input is wrong. The message says what, where and what to do about it; one for each
    problem."""

    exit_code = EXIT_INPUT

    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(problems))


class ConfigError(CodemixError):
    """A configuration or study file is wrong; carries all problems found, not just the first."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(*problems)


class DataError(CodemixError):
    """A corpus, tokenizer, manifest or token shard is missing, damaged or does not fit the
    others."""


class RunError(CodemixError):
    """A run directory, checkpoint or parent run is missing, incomplete or belongs to another
    run."""


class FitError(CodemixError):
    """Runs from which a law cannot be fitted: too few, all of one size, or no search converged."""


class UnavailableError(CodemixError):
    """This machine lacks what was asked for: a device, a package, disk space."""


class RetryableError(CodemixError):
    """Nothing is wrong with the input: the same command may succeed later (preempted, lost rank,
    hang)."""

    exit_code = EXIT_RETRY


class PreemptedError(RetryableError):
    """The run was asked to stop and has saved its state. Does not count as a failure."""
