import importlib.machinery
import subprocess
import sys
from pathlib import Path

import megatron_codemix

WITHOUT_THE_EXTENSION = """
import sys
sys.modules["megatron_codemix._C"] = None  # what import sees where it was never built
import numpy as np
from megatron_codemix import ops
from megatron_codemix.errors import UnavailableError
try:
    ops.build_blending_index(np.array([1.0]), 3)
except UnavailableError as error:
    print(error)
"""


def test_missing_extension_names_the_command_that_builds_it():
    folder = Path(megatron_codemix.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTENSION],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "python setup.py build_ext --inplace" in done.stdout


def test_extension_is_compiled():
    from megatron_codemix import _C

    assert _C.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
