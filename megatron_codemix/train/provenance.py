"""What an attempt ran with: versions, commit, host, command, data hashes."""

import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from megatron_codemix.data.resolve import DataPlan

_PACKAGES = ("megatron_codemix", "torch", "megatron-core", "numpy", "tokenizers")


def provenance(data: DataPlan, *, backend: str, device: str) -> dict[str, Any]:
    """The content of `provenance.json`; Any: JSON values.

    backend, device: their names.
    """
    return {
        "versions": versions(),
        "commit": source_commit(),
        "backend": backend,
        "device": device,
        "host": socket.gethostname(),
        "command": sys.argv,
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "data": data.as_dict(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def source_commit() -> str | None:
    """The commit of the checkout this package runs from, with '+changes' where files differ; None
    for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if _git(root, "status", "--porcelain", "-uno") else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
