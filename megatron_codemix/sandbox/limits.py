"""What a program may use, and how it ended."""

from dataclasses import dataclass
from typing import Literal

from megatron_codemix.errors import ConfigError

MIB = 2**20
Status = Literal["passed", "failed", "timeout", "memory", "output", "killed"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Caps on one program with all its children. Where isolated, memory and CPU time are also
    summed over its processes, 20 times a second."""

    wall_seconds: float = 10.0
    cpu_seconds: int = 10
    memory_bytes: int = 1024 * MIB
    """Address space of each process; sum of what all of them and their files hold."""
    processes: int = 16
    """Processes and threads at one time, the program itself included."""
    output_bytes: int = MIB
    """Standard output and standard error together."""
    file_bytes: int = 16 * MIB
    """One file."""
    disk_bytes: int = 64 * MIB
    """All of /tmp, which is in memory."""
    open_files: int = 64

    def __post_init__(self) -> None:
        problems = [
            f"sandbox limit {name} is {value}; it must be above 0"
            for name, value in vars(self).items()
            if not value > 0
        ]
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended.

    `run`: passed is exit code 0, which any program can choose. `check`: passed is the test's
    verdict.
    killed: by a signal, as a crash of the interpreter, or the helper was lost.
    """

    status: Status
    exit_code: int | None
    """Negative: minus the signal that ended it. None: it was ended for going over a limit."""
    stdout: bytes
    stderr: bytes
    cpu_seconds: float
