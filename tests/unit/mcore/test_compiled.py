"""Functions by torch's compiler beside the same as they are written. A CPU has its compiler's C++
kernels, a GPU others of the same program (tests/gpu/test_compiled.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ATTENTION = 2e-6
"""In fp32, numbers of about 1; another kernel adds in another order."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/helpers/compiled_functions.py prints; it takes most of its time to import."""
    folder = tmp_path_factory.mktemp("compiler")
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(folder), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "tests.helpers.compiled_functions"],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_compiled_functions_give_what_they_give_as_they_are_written(found: dict[str, Any]) -> None:
    """In bf16 within its rounding, in fp32 within that of sums, codes of FP8 bit for bit."""
    assert len(found["together"]) == 19
    wrong = [one for one in found["together"] if not one["difference"] <= one["tolerance"]]
    assert wrong == []


def test_without_a_compiler_a_function_stays_as_it_is_written(found: dict[str, Any]) -> None:
    answer = found["without a compiler"]
    assert list(answer["problems"]) == ["turn"]
    assert "/nonexistent/c++" in answer["problems"]["turn"]
    assert answer["same"]
    assert not answer["is_compiled"]


def test_a_run_that_finds_out_says_so_once_and_goes_on(found: dict[str, Any]) -> None:
    lines = found["without a compiler"]["lines"]
    assert len(lines) == 1
    assert lines[0].startswith("torch.compile of turn fails, going on without: ")


def test_attention_on_a_gpu_asks_for_the_same(found: dict[str, Any]) -> None:
    """Groups that are repeated, and the last queries of a sequence without a mask."""
    assert max(found["attention"].values()) < ATTENTION, found["attention"]


def test_a_kernel_that_counts_from_the_beginning_is_found_out(found: dict[str, Any]) -> None:
    assert found["parts"] == [True, False]
