"""Runs a function on several ranks that share one GPU."""

import contextlib
import os
import pickle
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.processes import die_with

_TIMEOUT_SECONDS = 150.0


def run_on_one_gpu(
    function: Callable[..., Any], num_ranks: int, folder: Path, *arguments: Any
) -> list[Any]:
    """`function(None, *arguments)` on each rank of a gloo group; the results by rank. Ranks are new
    processes: CUDA cannot be used in forks of one that has used it.

    function: of a module, which finds its backend by `select_backend("cuda")`.
    """
    context = get_context("spawn")
    processes = [
        context.Process(target=_rank, args=(function, arguments, rank, num_ranks, folder))
        for rank in range(num_ranks)
    ]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(_TIMEOUT_SECONDS)
    finally:
        for process in processes:
            process.kill()
    said = [path.read_text() for path in sorted(folder.glob("traceback*"))]
    if said or any(process.exitcode for process in processes):
        codes = [process.exitcode for process in processes]
        pytest.fail("\n".join([f"ranks ended with {codes}", *said]), pytrace=False)
    return [pickle.loads((folder / f"result{rank}").read_bytes()) for rank in range(num_ranks)]


def _rank(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    rank: int,
    num_ranks: int,
    folder: Path,
) -> None:
    die_with(os.getppid())
    try:
        (folder / f"result{rank}").write_bytes(
            pickle.dumps(_result(function, arguments, rank, num_ranks, folder))
        )
    except BaseException:
        (folder / f"traceback{rank}").write_text(traceback.format_exc())
        with contextlib.suppress(OSError):
            os._exit(1)  # the other ranks wait in a collective; their ends are not of interest


def _result(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    rank: int,
    num_ranks: int,
    folder: Path,
) -> Any:
    import torch.distributed

    from megatron_codemix.backend.devices import select_backend
    from tests.helpers.host_collectives import send_by_way_of_the_host

    send_by_way_of_the_host()
    select_backend("cuda").prepare()
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=num_ranks
    )
    result = function(None, *arguments)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return result
