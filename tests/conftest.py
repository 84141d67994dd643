"""What all tests share: one thread for each process, and what is skipped where."""

import gc
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Generator

import pytest

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


@pytest.hookimpl(trylast=True)  # after the shuffle
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the longest file, so that no worker waits for another at the end. Skips tests
    marked `gpu` where there is no NVIDIA driver."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")
    if shutil.which("nvidia-smi"):
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no NVIDIA driver on this machine"))


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
