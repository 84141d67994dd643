"""Ends the build of a container that lacks what training on GPUs takes. No GPU is needed."""

import sys
from importlib.metadata import PackageNotFoundError, version

from megatron_codemix.config.precision_checks import ENGINE_VERSION

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

        engine = tuple(int(part) for part in version("transformer-engine").split(".")[:2])
        if torch.version.cuda is None:
            found.append("torch was replaced by one without CUDA; keep the base image's")
        if not ENGINE_VERSION <= engine < (2, 12):
            found.append(
                f"transformer-engine {version('transformer-engine')}: megatron-core 0.16.1 takes "
                "2.9 to 2.11; take another base image"
            )
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems()))
