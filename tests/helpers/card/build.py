"""Compiles device.cpp."""

import hashlib
import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

import torch
from torch.utils import cpp_extension

_SOURCE = Path(__file__).with_name("device.cpp")


def library(folder: Path) -> Path:
    """The device as a shared library in `folder`; made there where it is not yet, or is of another
    source or torch."""
    compiler = os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++"
    command = [
        *shlex.split(compiler),
        *("-std=c++20", "-O0", "-shared", "-fPIC", "-fvisibility=hidden", str(_SOURCE)),
        *(f"-isystem{path}" for path in cpp_extension.include_paths()),
        *(f"-L{path}" for path in cpp_extension.library_paths()),
        *("-ltorch_cpu", "-lc10"),
    ]
    made_of = " ".join([torch.__version__, *command]).encode() + _SOURCE.read_bytes()
    path = folder / f"card_{hashlib.sha256(made_of).hexdigest()[:16]}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, "-o", str(unfinished)], check=True)
        unfinished.rename(path)
    return path
