"""GPUs and cores of trainings side by side, and how many fit."""

from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.launch.shares import fitting_jobs, gpu_shares, thread_shares


def test_each_place_gets_gpus_of_its_own(tmp_path: Path) -> None:
    """By CUDA's numbers, which begin with 0 whatever the files of a container are called."""
    for name in ("nvidia0", "nvidia2", "nvidia3", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    shares = gpu_shares(2, 2, {}, tmp_path)
    assert shares == [{"CUDA_VISIBLE_DEVICES": "0,1"}, {"CUDA_VISIBLE_DEVICES": "2,3"}]


def test_only_what_this_process_may_see_is_shared_out(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    shares = gpu_shares(2, 1, {"CUDA_VISIBLE_DEVICES": "5, GPU-ab"}, tmp_path)
    assert shares == [{"CUDA_VISIBLE_DEVICES": "5"}, {"CUDA_VISIBLE_DEVICES": "GPU-ab"}]


def test_without_gpus_and_for_one_place_nothing_is_set(tmp_path: Path) -> None:
    assert gpu_shares(3, 4, {}, tmp_path) == [{}, {}, {}]
    assert gpu_shares(1, 4, {"CUDA_VISIBLE_DEVICES": "0"}, tmp_path) == [{}]


def test_too_few_gpus_are_refused_with_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="need 6 GPUs, and this process sees 4; use --jobs 2"):
        gpu_shares(3, 2, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, tmp_path)


def test_trainings_of_one_process_share_the_cores() -> None:
    assert thread_shares(2, 1, {}, num_cores=8) == {"OMP_NUM_THREADS": "4"}
    assert thread_shares(3, 1, {}, num_cores=2) == {"OMP_NUM_THREADS": "1"}


def test_threads_are_left_alone_where_nothing_is_shared_or_they_are_given() -> None:
    assert thread_shares(1, 1, {}, num_cores=8) == {}
    assert thread_shares(2, 4, {}, num_cores=8) == {}
    assert thread_shares(2, 1, {"OMP_NUM_THREADS": "3"}, num_cores=8) == {}


GIB = 1 << 30


def fitting_on_cpus(world_size: int, num_cores: int, free_bytes: int = 64 * GIB) -> int:
    return fitting_jobs(
        world_size,
        needs_gpus=False,
        process_bytes=2 * GIB,
        num_cores=num_cores,
        free_bytes=free_bytes,
    )


@pytest.mark.parametrize(
    ("world_size", "num_cores", "fitting"), [(4, 2, 1), (4, 8, 2), (4, 11, 2), (2, 8, 4), (1, 8, 1)]
)
def test_on_cpus_each_process_has_a_core(world_size: int, num_cores: int, fitting: int) -> None:
    assert fitting_on_cpus(world_size, num_cores) == fitting


def test_on_cpus_each_process_has_its_memory() -> None:
    assert fitting_on_cpus(2, 8, free_bytes=9 * GIB) == 2
    assert fitting_on_cpus(2, 8, free_bytes=GIB) == 1


def test_an_evaluation_of_more_processes_fits_too() -> None:
    found = fitting_jobs(
        2, num_evaluators=4, needs_gpus=False, process_bytes=GIB, num_cores=8, free_bytes=64 * GIB
    )
    assert found == 2


def test_on_gpus_each_training_has_its_own(tmp_path: Path) -> None:
    def fitting(world_size: int, visible: str) -> int:
        environment = {"CUDA_VISIBLE_DEVICES": visible}
        return fitting_jobs(world_size, needs_gpus=True, process_bytes=GIB, environment=environment)

    def fitting_with_evaluation(num_evaluators: int) -> int:
        environment = {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}
        return fitting_jobs(
            2, num_evaluators=num_evaluators, needs_gpus=True, process_bytes=GIB,
            environment=environment,
        )  # fmt: skip

    assert [fitting_with_evaluation(number) for number in (1, 2, 4, 16)] == [4, 4, 2, 1]
    assert fitting(2, "0,1,2,3,4,5,6,7") == 4
    assert fitting(3, "0,1,2,3") == 1
    assert fitting(1, "") == 1


def test_memory_that_is_free_is_found() -> None:
    """On this machine: a process of a byte fits where there is a core, one of an exbibyte not."""
    for size, expected in ((1, 2), (1 << 60, 1)):
        found = fitting_jobs(2, needs_gpus=False, process_bytes=size, num_cores=4)
        assert found == expected
