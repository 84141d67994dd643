"""One cluster for all tests of a worker; each test finds it whole and empty."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from megatron_codemix.runs import RunDirectory
from tests.slurm.cluster import Cluster, running, why_not
from tests.slurm.runs import train_here, write_config


@pytest.fixture(scope="session")
def able_machine() -> None:
    """Skips with the reason where no cluster can be started."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def session_cluster(
    able_machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Started once; tests take `cluster`."""
    with running(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def cluster(session_cluster: Cluster) -> Iterator[Cluster]:
    """A real SLURM: four nodes of 4 CPUs and 2 fake GPUs. What a test leaves of jobs is cancelled,
    nodes that it has switched off come back."""
    yield session_cluster
    session_cluster.restore()


@pytest.fixture(scope="session")
def config(able_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run that jobs train."""
    return write_config(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def undisturbed(config: Path) -> RunDirectory:
    """The run with two ranks, without SLURM."""
    return train_here(config, 2)
