"""Work that is killed again and again at chosen points, by a real SIGKILL of its process."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Forks, and kills the child at its n-th opening, renaming or removing of a file below `out`.
_KILLED_AGAIN_AND_AGAIN = """
import os, signal, sys, traceback

out, work, *arguments = sys.argv[1:]
scope = {}
exec(work, scope)

def killed_at(n):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    count = 0
    def hook(event, given):
        nonlocal count
        names = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
        if event in names and str(given[0]).startswith(out):
            count += 1
            if count == n:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    try:
        scope["run"](*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(9)
    os._exit(0)

kills = 0
while killed_at(int(sys.stdin.readline())):
    kills += 1
print(kills)
"""


def killed_again_and_again(
    work: str, arguments: Sequence[object], out: Path, points: Sequence[int]
) -> int:
    """Runs `work`, source that defines `run(*arguments)` (they come as text), once for each point
    until it ends by itself; each time it is killed at that many openings, renamings and removals of
    files below `out`. In the end it is not killed. Returns how often it was.
    """
    finished = subprocess.run(
        [sys.executable, "-c", _KILLED_AGAIN_AND_AGAIN, str(out), work, *map(str, arguments)],
        input="".join(f"{point}\n" for point in [*points, 10**9]),
        cwd=ROOT,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in finished.stderr, finished.stderr
    return int(finished.stdout)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
