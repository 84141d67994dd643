"""Builds the C++ extension megatron_codemix._C; all else about the package is in pyproject.toml."""

from pathlib import Path

import pybind11
from setuptools import Extension, setup

CSRC = Path("csrc")

extension = Extension(
    "megatron_codemix._C",
    sources=sorted(str(path) for path in CSRC.glob("*.cpp")),
    depends=sorted(str(path) for path in CSRC.glob("*.h")),
    include_dirs=[str(CSRC), pybind11.get_include()],
    language="c++",
    # No -march=native: a wheel runs on other machines than the one that built it. No contraction to
    # fused multiply-add: blending must round alike everywhere.
    extra_compile_args=[
        "-std=c++17",
        "-O3",
        "-fvisibility=hidden",
        "-ffp-contract=off",
        "-Wall",
        "-Wextra",
        "-Werror",
    ],
)

setup(ext_modules=[extension])
