"""megatron-core as the peer of tests."""

import importlib
import queue
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def import_megatron(name: str) -> Any:
    """A module of megatron-core, behind megatron_codemix.mcore: what that changes in it must come
    first, and which test of a process is the first to import it is left to chance."""
    importlib.import_module("megatron_codemix.mcore")
    return importlib.import_module(name)


def save_as_megatron_does(
    state: Mapping[str, Any], folder: Path, content: Mapping[str, Any] | None = None
) -> None:
    """Its own planning and writing of sharded tensors. Every rank calls it; the folder is there."""
    from megatron.core import dist_checkpointing
    from megatron.core.dist_checkpointing.strategies import filesystem_async

    # Spared: a manager process for each rank, which imports torch and is asked by others alone.
    filesystem_async._results_queue = queue.SimpleQueue()
    dist_checkpointing.save(state, str(folder), content_metadata=content)
