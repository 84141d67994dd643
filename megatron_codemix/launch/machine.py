"""What the machine has, found without loading torch."""

import shutil


def has_nvidia_driver() -> bool:
    """Whether nvidia-smi is there, as it is with every driver."""
    return shutil.which("nvidia-smi") is not None
