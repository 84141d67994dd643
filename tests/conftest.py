"""What all tests share: one thread for each process, and what is skipped where."""

import os
import shutil

import pytest

# Before anything loads OpenMP: ranks are many and cores few, and sums come out the same everywhere.
os.environ["OMP_NUM_THREADS"] = "1"
# A launcher that has started the tests themselves has not made ranks of them.
for _name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_STEP_ID"):
    os.environ.pop(_name, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--record-golden`: see tests/distributed/test_golden.py."""
    parser.addoption("--record-golden", action="store_true", help="write tests/golden anew")


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
