"""Child processes that are Python sources: words are the source and its arguments."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from megatron_codemix.launch.loaded import LoadedServer
from megatron_codemix.launch.local import (
    POLL_SECONDS,
    Child,
    ChildExit,
    Process,
    Starter,
    StopRequest,
    start_program,
)

KINDS = ("program", "forked")


def load() -> None:
    """Nothing."""


def main(words: Sequence[str]) -> int:
    """What a forked child runs."""
    sys.argv = ["-c", *words[1:]]
    exec(words[0], {"__name__": "__main__"})
    return 0


@contextlib.contextmanager
def starter(kind: str) -> Iterator[Starter]:
    """A new interpreter for each, or forks of one."""
    if kind == "program":
        yield _start_interpreter
        return
    with contextlib.closing(LoadedServer("tests.helpers.children")) as server:
        yield server.start


def _start_interpreter(
    words: Sequence[str],
    output: IO[bytes],
    pass_fds: Sequence[int],
    environment: Mapping[str, str],
) -> Process:
    return start_program([sys.executable, "-c", *words], output, pass_fds, environment)


def wait_for(
    child: Child, stop: StopRequest, on_poll: Callable[[], None] = lambda: None
) -> ChildExit:
    """How it ends; none of its processes is left, even if `on_poll` raises."""
    try:
        while (ended := child.ended(POLL_SECONDS)) is None:
            on_poll()
            child.pass_on(stop)
        return ended
    finally:
        child.kill()


def run(words: Sequence[object], log: Path, start: Starter) -> ChildExit:
    """Runs it to its end."""
    return wait_for(Child([str(word) for word in words], log, start=start), StopRequest())
