"""What all tests share: one thread for each process, and what is skipped where."""

import gc
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Generator

import pytest

from megatron_codemix.backend.environment import may_have_gpus
from megatron_codemix.errors import UnavailableError
from megatron_codemix.sandbox.isolation import NEEDED_KERNEL
from megatron_codemix.sandbox.sandbox import Sandbox

# Before anything loads OpenMP: ranks are many and cores few, and sums come out the same everywhere.
os.environ["OMP_NUM_THREADS"] = "1"
# A launcher that has started the tests themselves has not made ranks of them.
for _name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_STEP_ID"):
    os.environ.pop(_name, None)
# Nor one that has started them in the background, which lets Ctrl-C pass by all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--record-golden`: see tests/distributed/test_golden.py."""
    parser.addoption("--record-golden", action="store_true", help="write tests/golden anew")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """A million objects of imports and tests stay until the end: no search for garbage walks them,
    neither while they are made nor after, here or in what a test forks."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """In a process torch.cuda means a GPU or, for megatron-core, the CPU: tests marked `gpu` run by
    themselves, and the others see no GPU."""
    if may_have_gpus() and not _wants_gpu(config):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.hookimpl(trylast=True)  # after the shuffle
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begins with the longest file, so that no worker waits for another at the end. Skips tests
    marked `gpu` where there is no NVIDIA driver, or where others run too."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")
    reason = "" if _wants_gpu(config) else "run by themselves: pytest -m gpu"
    if not may_have_gpus():
        reason = "no NVIDIA GPU on this machine"
    for item in items:
        if reason and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


def _wants_gpu(config: pytest.Config) -> bool:
    return bool(config.option.markexpr == "gpu")


@pytest.fixture(scope="session")
def isolation() -> None:
    """For tests that run programs in the sandbox: skips where the system does not let it isolate
    them, and fails where it lets `unshare` of util-linux do the same."""
    try:
        Sandbox().close()
    except UnavailableError as error:
        if unshare_isolates():
            raise
        pytest.skip(str(error))


def unshare_isolates() -> bool:
    if shutil.which("unshare") is None:
        return False
    kinds = ("--user", "--map-root-user", "--pid", "--fork", "--net", "--ipc", "--uts", "--mount")
    release = tuple(int(part) for part in platform.release().replace("-", ".").split(".")[:2])
    done = subprocess.run(
        ["unshare", *kinds, "--mount-proc", "true"], capture_output=True, check=False
    )
    return release >= NEEDED_KERNEL and done.returncode == 0
