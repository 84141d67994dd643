"""Runs a function on real gloo ranks, started by the project's own launcher."""

import os
import pickle
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.ranks import run_ranks
from tests.helpers import server

_OUTPUT = "output.log"


def run_distributed(
    function: Callable[..., Any],  # Any: whatever the test wants back, if it can be pickled
    num_ranks: int,
    *arguments: Any,
    timeout_seconds: float = 60.0,
) -> list[Any]:
    """`function(context, *arguments)` on each rank of a gloo group; the results by rank.

    `function` is a module-level function; it is imported anew in the server, so what a test has
    patched does not reach it. On failure the test fails with the traceback of every rank that has
    one, and the stacks of those that hung.
    """
    folder = Path(tempfile.mkdtemp(prefix="codemix-test-ranks-"))
    try:
        launch = (function, num_ranks, arguments, folder, timeout_seconds)
        launcher = server.context().Process(target=_launch, args=launch)
        launcher.start()
        try:
            launcher.join(timeout_seconds + 30)
        finally:
            launcher.kill()  # and, as they die with it, the ranks
            launcher.join()
        if launcher.exitcode != 0:
            pytest.fail(_all_that_went_wrong(folder, num_ranks, launcher.exitcode), pytrace=False)
        return [pickle.loads((folder / f"result{rank}").read_bytes()) for rank in range(num_ranks)]
    finally:
        shutil.rmtree(folder)


def _launch(
    function: Callable[..., Any],
    num_ranks: int,
    arguments: tuple[Any, ...],
    folder: Path,
    timeout_seconds: float,
) -> None:
    """In a process of its own: starts the ranks and ends with their exit code."""
    output = os.open(folder / _OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)

    def target(context: RankContext) -> int:
        return _run(function, arguments, context, folder)

    sys.exit(
        run_ranks(
            target, num_ranks, log_folder=folder, timeout_seconds=timeout_seconds, grace_seconds=5
        )
    )


def _run(
    function: Callable[..., Any], arguments: tuple[Any, ...], context: RankContext, folder: Path
) -> int:
    """Body of a rank."""
    import torch.distributed

    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.backend.process_groups import initialize_process_group

    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # let each rank say what it sees
    backend = select_backend("cpu")
    backend.prepare()
    try:
        initialize_process_group(
            backend,
            rank=context.rank,
            world_size=context.world_size,
            init_method=context.init_method,
        )
        result = function(context, *arguments)
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    except BaseException:
        (folder / f"traceback{context.rank}").write_text(traceback.format_exc())
        raise
    (folder / f"result{context.rank}").write_bytes(pickle.dumps(result))
    return 0


def _all_that_went_wrong(folder: Path, num_ranks: int, exit_code: int | None) -> str:
    """What the launcher and rank 0 have said, then what each rank has left."""
    parts = [f"{num_ranks} ranks ended with exit code {exit_code}", *_last_lines(folder / _OUTPUT)]
    for rank in range(num_ranks):
        lines = _last_lines(folder / f"traceback{rank}") or _last_lines(folder / f"rank{rank}.log")
        parts += [f"--- rank {rank}", *lines] if lines else []
    return "\n".join(parts)


def _last_lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines()[-60:] if path.exists() else []
