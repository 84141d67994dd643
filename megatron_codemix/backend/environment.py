"""What the machine has, and what torch may see of it; to be settled before torch is loaded."""

import os
import shutil
from typing import Literal

from megatron_codemix.errors import UnavailableError


def has_nvidia_driver() -> bool:
    """Whether nvidia-smi is there, as it is with every driver."""
    return shutil.which("nvidia-smi") is not None


def require_device(device: Literal["auto", "cpu", "cuda"]) -> None:
    """Raises UnavailableError where CUDA is asked for on a machine without an NVIDIA driver."""
    if device == "cuda" and not has_nvidia_driver():
        raise UnavailableError(
            "backend.device: cuda, but this machine has no NVIDIA driver (nvidia-smi is not on "
            "PATH); run on a GPU node, or set backend.device=cpu"
        )


def prepare_environment(device: Literal["auto", "cpu", "cuda"]) -> None:
    """To be called before the first import of torch, in a process that forks ranks or is one.

    PyTorch must look for GPUs through NVML: the CUDA runtime, once started in a process, cannot be
    used in its forks. And a run on the CPU must not see a GPU, because megatron-core takes any.
    """
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
