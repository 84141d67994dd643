"""Which device a configuration means on this machine, told without torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from megatron_codemix.backend.environment import (
    DeviceChoice,
    may_import_before_forks,
    prepare_environment,
    require_device,
    require_graphs,
    require_precision,
    runs_on_gpus,
)
from megatron_codemix.config.schema import BackendConfig, Fp8Config
from megatron_codemix.errors import ConfigError, UnavailableError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("device", "without_driver", "with_driver"),
    [("cpu", False, False), ("auto", False, True), ("cuda", True, True)],
)
def test_a_driver_decides_where_a_configuration_does_not(
    device: str,
    without_driver: bool,
    with_driver: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runs_on_gpus(device, tmp_path) == without_driver
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    assert runs_on_gpus(device, tmp_path) == with_driver
    assert may_import_before_forks(device) != with_driver


def test_a_container_may_have_gpus_without_the_drivers_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "nvidiactl").touch()
    assert not runs_on_gpus("auto", tmp_path)
    with pytest.raises(UnavailableError, match="no NVIDIA driver"):
        require_device("cuda", tmp_path)
    (tmp_path / "nvidia3").touch()
    assert runs_on_gpus("auto", tmp_path)
    assert not runs_on_gpus("cpu", tmp_path)
    require_device("cuda", tmp_path)


def test_a_run_on_the_cpu_does_not_ask_which_gpu_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 8.0\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    scaled = Fp8Config(recipe="torch_scaled_mm", rule="tensorwise")
    require_precision(scaled, "cpu")
    with pytest.raises(ConfigError, match=r"and this one has 8\.0"):
        require_precision(scaled, "auto")


def test_without_the_drivers_programs_torch_is_asked_which_gpu_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process that ends; what stands in for torch has the two functions that it asks."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "torch.py").write_text(
        "class cuda:\n"
        "    device_count = lambda: 2\n"
        "    get_device_capability = lambda each: (9 - each, 0)\n"
    )
    scaled = Fp8Config(recipe="torch_scaled_mm", rule="tensorwise")
    require_precision(scaled, "auto", tmp_path)
    (tmp_path / "nvidia0").touch()
    with pytest.raises(ConfigError, match=r"and this one has 8\.0"):
        require_precision(scaled, "auto", tmp_path)


SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


@pytest.mark.parametrize("device", ["cuda", "auto", "cpu"])
@pytest.mark.parametrize("said", [None, *SETTINGS])
def test_memory_grows_by_segments_on_a_gpu_unless_something_else_was_said(
    device: DeviceChoice, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {} if said is None else {said: "backend:cudaMallocAsync"}
    monkeypatch.setattr("os.environ", environment.copy())
    prepare_environment(device)
    asked = {name: value for name, value in os.environ.items() if name in SETTINGS}
    is_ours = said is None and device != "cpu"
    assert asked == ({SETTINGS[0]: "expandable_segments:True"} if is_ours else environment)


@pytest.mark.parametrize("device", ["cuda", "auto", "cpu"])
@pytest.mark.parametrize("said", [None, "8"])
def test_a_gpu_queues_in_one_order_before_anything_is_imported(
    device: DeviceChoice, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "CUDA_DEVICE_MAX_CONNECTIONS"
    monkeypatch.setattr("os.environ", {} if said is None else {name: said})
    prepare_environment(device)
    assert os.environ.get(name) == (said or (None if device == "cpu" else "1"))


@pytest.mark.parametrize("device", ["cuda", "auto", "cpu"])
def test_a_containers_word_for_tf32_is_dropped(
    device: DeviceChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"})
    prepare_environment(device)
    assert "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE" not in os.environ


def test_a_gpu_multiplies_fp32_in_fp32_whatever_torch_has_read() -> None:
    """In a process that has loaded torch in such a container; binding to a GPU is left out."""
    program = """
import torch
from megatron_codemix.backend.devices import CudaBackend
torch.cuda.set_device = lambda device: None
before = torch.backends.cuda.matmul.allow_tf32
CudaBackend(0).prepare()
# The older switch, which raises where the newer one says something else; the newer, where it is.
matmul = torch.backends.cuda.matmul
print(before, matmul.allow_tf32, getattr(matmul, "fp32_precision", "ieee"))
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["True", "False", "ieee"]


def test_cuda_graphs_are_refused_where_there_is_no_gpu_to_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    require_graphs(BackendConfig(), tmp_path)
    asked = BackendConfig(cuda_graphs="microbatch")
    with pytest.raises(UnavailableError, match="no NVIDIA GPU"):
        require_graphs(asked, tmp_path)
    (tmp_path / "nvidia0").touch()
    require_graphs(asked, tmp_path)
