"""What the machine has, and what torch may see of it; to be settled before torch is loaded."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from megatron_codemix.config.engine_checks import check_engine_machine
from megatron_codemix.config.engine_options import check_engine_options, takes_engine_loss
from megatron_codemix.config.override_checks import check_overrides_on_cpu
from megatron_codemix.config.precision_checks import Capability, check_machine
from megatron_codemix.config.schema import (
    AnyPrecisionConfig,
    BackendConfig,
    Fp8Config,
    RunConfig,
)
from megatron_codemix.errors import ConfigError, UnavailableError

GPU: Literal["cuda"] = "cuda"
"""A GPU or an error, never the CPU in its place."""

DeviceChoice = Literal["auto", "cpu", "cuda"]
"""As `backend.device` says it."""
_ALLOCATOR_SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""PyTorch's name for its allocator's settings, and the one of before 2.9, which it still reads."""
ONE_CONNECTION = ("CUDA_DEVICE_MAX_CONNECTIONS", "1")
"""Keeps megatron-core's overlapped collectives in the order in which they were queued (needed
before Blackwell). Read when CUDA starts, which Transformer Engine may do while it is imported."""
TF32_OVERRIDE = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"
"""Has torch compute products of fp32 numbers in TF32; NVIDIA's containers set it."""

_SMI_QUERY = ("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
_TORCH_QUERY = (
    sys.executable,
    "-c",
    "import torch; [print('%d.%d' % torch.cuda.get_device_capability(each))"
    " for each in range(torch.cuda.device_count())]",
)
_ANSWER_SECONDS = {_SMI_QUERY: 30, _TORCH_QUERY: 120}
"""Torch is slow to import from a file system that others use too."""


def has_nvidia_driver() -> bool:
    """Whether nvidia-smi is there, as it is with every driver; not in every container."""
    return shutil.which("nvidia-smi") is not None


def may_have_gpus(device_files: Path = Path("/dev")) -> bool:
    """Whether torch, which is not asked, may find GPUs: a container that was given CUDA and no more
    has their files, and no nvidia-smi."""
    return has_nvidia_driver() or any(device_files.glob("nvidia[0-9]*"))


def runs_on_gpus(device: DeviceChoice, device_files: Path = Path("/dev")) -> bool:
    """Whether a run on this machine may use GPUs; torch may yet find none."""
    return device == "cuda" or (device == "auto" and may_have_gpus(device_files))


def may_import_before_forks(device: DeviceChoice) -> bool:
    """Whether a process may import the engine and then fork ranks that run on `device`. Transformer
    Engine, where flash-attn is installed, asks the GPU for its capability while it is imported;
    that starts CUDA, which forks cannot use then: there each rank makes its own imports."""
    return not runs_on_gpus(device)


def require_device(device: DeviceChoice, device_files: Path = Path("/dev")) -> None:
    """Raises UnavailableError where CUDA is asked for on a machine without an NVIDIA driver."""
    if device == "cuda" and not may_have_gpus(device_files):
        raise UnavailableError(
            "backend.device: cuda, but this machine has no NVIDIA driver (nvidia-smi is not on "
            "PATH, and there is no /dev/nvidia0); run on a GPU node, or set backend.device=cpu"
        )


def require_graphs(config: BackendConfig, device_files: Path = Path("/dev")) -> None:
    """Raises UnavailableError where CUDA graphs are asked for and no GPU can be meant."""
    if config.cuda_graphs != "none" and not runs_on_gpus(config.device, device_files):
        raise UnavailableError(
            f"backend.cuda_graphs: {config.cuda_graphs}, but this machine has no NVIDIA GPU "
            "(backend.device is auto, which takes the CPU here); run on a GPU node, or leave it out"
        )


def require_overrides(config: RunConfig, device_files: Path = Path("/dev")) -> None:
    """Raises ConfigError with all `model.transformer_overrides` that mean nothing on a CPU, where a
    run here computes on one."""
    if not runs_on_gpus(config.backend.device, device_files):
        problems = check_overrides_on_cpu(config.model.transformer_overrides)
        if problems:
            raise ConfigError(problems)


def require_precision(
    precision: AnyPrecisionConfig, device: DeviceChoice, device_files: Path = Path("/dev")
) -> None:
    """Raises ConfigError with all that this machine lacks for products in this format."""
    if isinstance(precision, Fp8Config):
        capability = None if device == "cpu" else _gpu_capability(device_files)
        problems = check_machine(precision, capability, engine_version())
        if problems:
            raise ConfigError(problems)


def require_engine_options(config: RunConfig, device_files: Path = Path("/dev")) -> None:
    """Raises ConfigError with all that this machine lacks for what is Transformer Engine's alone
    and asked for by itself."""
    if takes_engine_loss(config.model) or config.layout.tensor_overlap:
        device = config.backend.device
        capability = None if device == "cpu" else _gpu_capability(device_files)
        problems = check_engine_options(config, capability, engine_version())
        if problems:
            raise ConfigError(problems)


def require_engine(asked: BackendConfig, device_files: Path = Path("/dev")) -> None:
    """Raises ConfigError with all that this machine lacks for layers and kernels asked by name."""
    if asked.engine == "transformer_engine" or asked.attention != "auto":
        capability = None if asked.device == "cpu" else _gpu_capability(device_files)
        problems = check_engine_machine(asked, capability, engine_version())
        if problems:
            raise ConfigError(problems)


def _gpu_capability(device_files: Path) -> Capability | None:
    """The least of this machine's GPUs; None where there is none, or no driver. Without nvidia-smi
    a process that ends asks torch: in this one CUDA must not start before ranks are forked."""
    if not may_have_gpus(device_files):
        return None
    query = _SMI_QUERY if has_nvidia_driver() else _TORCH_QUERY
    try:
        result = subprocess.run(
            query, capture_output=True, text=True, timeout=_ANSWER_SECONDS[query]
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return least_capability(result.stdout) if result.returncode == 0 else None


def least_capability(text: str) -> Capability | None:
    """Of what nvidia-smi and `_TORCH_QUERY` say, a line such as `9.0` for each GPU."""
    found = [line.split(".") for line in text.split() if line.replace(".", "", 1).isdecimal()]
    return min(((int(major), int(minor)) for major, minor in found), default=None)


def engine_version() -> str | None:
    """Of Transformer Engine; None: it is not installed."""
    try:
        return importlib.metadata.version("transformer-engine")
    except importlib.metadata.PackageNotFoundError:
        return None


def prepare_environment(device: DeviceChoice) -> None:
    """To be called before the first import of torch, in a process that forks ranks or is one.

    PyTorch must look for GPUs through NVML: the CUDA runtime, once started in a process, cannot be
    used in its forks. And a run on the CPU must not see a GPU, because megatron-core takes any.
    Nor does fp32 mean TF32 because a container says so. On a GPU memory comes in segments that can
    grow and work is queued in one order, unless the environment says something of them.
    """
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    os.environ.pop(TF32_OVERRIDE, None)
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    else:
        os.environ |= gpu_settings(os.environ)


def gpu_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What a process on a GPU adds to its environment where that says nothing of it: memory in
    segments that can grow, and one connection."""
    name, value = ONE_CONNECTION
    connections = {} if name in environment else {name: value}
    return _allocator_settings(environment) | connections


def _allocator_settings(environment: Mapping[str, str]) -> dict[str, str]:
    if any(name in environment for name in _ALLOCATOR_SETTINGS):
        return {}
    # What the planner's margin for fragmentation takes for granted. NCCL cannot register such
    # memory as user buffers; where those come (layouts do not use them), this must go.
    return {_ALLOCATOR_SETTINGS[0]: "expandable_segments:True"}
