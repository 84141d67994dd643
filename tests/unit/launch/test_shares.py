"""GPUs of trainings side by side."""

from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.launch.shares import gpu_shares, thread_shares


def test_each_place_gets_gpus_of_its_own(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    shares = gpu_shares(2, 2, {}, tmp_path)
    assert shares == [{"CUDA_VISIBLE_DEVICES": "0,1"}, {"CUDA_VISIBLE_DEVICES": "2,10"}]


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
