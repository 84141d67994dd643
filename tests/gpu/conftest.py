"""One GPU, and a process group on it."""

import os
from collections.abc import Iterator
from typing import Any  # torch's types: loaded only where there is a GPU

import pytest

from megatron_codemix.backend.environment import gpu_settings


def pytest_configure(config: pytest.Config) -> None:
    """Before torch is loaded: what a training on a GPU sets, whoever starts the tests."""
    if config.option.markexpr == "gpu":
        os.environ |= gpu_settings(os.environ)


@pytest.fixture(scope="session")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The back end of this process, the only rank of a group on NCCL."""
    import torch.distributed

    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.backend.process_groups import initialize_process_group

    backend = select_backend("cuda")
    backend.prepare()
    store = tmp_path_factory.mktemp("group") / "store"
    initialize_process_group(backend, rank=0, world_size=1, init_method=f"file://{store}")
    yield backend
    torch.distributed.destroy_process_group()


@pytest.fixture
def alone(gpu: Any) -> Iterator[Any]:
    """The same, for a test that makes the groups of a layout."""
    from megatron_codemix.mcore.groups import destroy_model_parallel

    yield gpu
    destroy_model_parallel()
