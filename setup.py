"""Builds the C++ extension megatron_codemix._C and puts the examples into the wheel; all else about
the package is in pyproject.toml."""

import shutil
from pathlib import Path

import pybind11
from pybind11.setup_helpers import ParallelCompile
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

CSRC = Path("csrc")
EXAMPLES = Path("examples")


class BuildWithExamples(build_py):
    """Copies examples/ to megatron_codemix/examples, where an installed package looks for them; an
    editable install finds them in the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            no_caches = shutil.ignore_patterns("__pycache__")
            shutil.copytree(
                EXAMPLES, self._place_of_examples(), ignore=no_caches, dirs_exist_ok=True
            )

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        copies = [
            str(self._place_of_examples() / path.relative_to(EXAMPLES))
            for path in sorted(EXAMPLES.rglob("*"))
            if path.is_file() and path.suffix != ".pyc"
        ]
        return super().get_outputs(include_bytecode) + copies

    def _place_of_examples(self) -> Path:
        return Path(self.build_lib) / "megatron_codemix" / "examples"


extension = Extension(
    "megatron_codemix._C",
    sources=sorted(str(path) for path in CSRC.rglob("*.cpp")),
    depends=sorted(str(path) for path in CSRC.rglob("*.h")),
    include_dirs=[str(CSRC), pybind11.get_include()],
    language="c++",
    # No -march=native: a wheel runs on other machines than the one that built it. No contraction to
    # fused multiply-add: blending must round alike everywhere.
    extra_compile_args=[
        "-std=c++17",
        "-O3",
        "-g0",  # many Pythons were built with -g, and would have it here too
        "-fvisibility=hidden",
        "-ffp-contract=off",
        "-Wall",
        "-Wextra",
        "-pthread",
    ],
    extra_link_args=["-pthread"],
)

ParallelCompile().install()  # on all cores
setup(ext_modules=[extension], cmdclass={"build_py": BuildWithExamples})
