"""Ends the build of a container that lacks what training on GPUs takes. No GPU is needed."""

import sys
from importlib.metadata import PackageNotFoundError, version

from megatron_codemix.config.precision_checks import ENGINES_TAKEN, is_taken

NEEDED = ("torch", "megatron-core", "transformer-engine", "megatron_codemix")


def problems() -> list[str]:
    """What is missing, or too old."""
    found = []
    for package in NEEDED:
        try:
            print(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} is not installed; take another base image")
    if not found:
        import torch

        engine = version("transformer-engine")
        if torch.version.cuda is None:
            found.append("torch was replaced by one without CUDA; keep the base image's")
        if not is_taken(engine):
            found.append(
                f"transformer-engine {engine}: {ENGINES_TAKEN} is wanted; take another base image"
            )
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems()))
