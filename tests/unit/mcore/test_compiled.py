"""Functions by torch's compiler beside the same as they are written. A CPU has its compiler's C++
kernels, a GPU others of the same program (tests/gpu/test_compiled.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from megatron_codemix.backend.compiling import Fused, try_to_compile
from megatron_codemix.mcore import compiled as trials
from megatron_codemix.mcore.fp8 import scaling
from megatron_codemix.mcore.fp8.formats import E4M3, E5M2, Format

ATTENTION = 2e-6
"""In fp32, numbers of about 1; another kernel adds in another order."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/helpers/compiled_functions.py prints; it takes most of its time to import."""
    folder = tmp_path_factory.mktemp("compiler")
    environment = os.environ | {
        "TORCHINDUCTOR_CACHE_DIR": str(folder),
        "TORCHINDUCTOR_COMPILE_THREADS": "2",  # as on a machine with as many processors
        "OMP_NUM_THREADS": "1",
    }
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
    assert len(found["together"]) == 23
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


def test_a_thread_that_made_no_settings_compiles_every_shape(found: dict[str, Any]) -> None:
    """A GPU's backward pass runs in one; torch's own limit is 8 shapes."""
    answer = found["another thread"]
    assert answer["is_compiled"]
    assert answer["compilations"] == 3 + 15


def test_no_thread_starts_processes_of_the_compiler(found: dict[str, Any]) -> None:
    assert found["another thread"]["pools"] == 0


def test_an_older_torch_is_asked_for_what_it_has(found: dict[str, Any]) -> None:
    """Names as in torch's sources; before 2.12 its settings are those of all threads."""
    both = {"fullgraph": True, "dynamic": False, "limit": 64, "set": 1}
    assert found["older"] == [
        both | {"options": {"compile_threads": 1}},
        both | {"options": {"compile_threads": 1, "emulate_divison_rounding": True}},
    ]


def lesser_quotients(maximum: torch.Tensor, to: Format) -> torch.Tensor:
    """As Triton divides where it is not asked to be exact: by way of the reciprocal."""
    scale = maximum.reciprocal() * to.maximum
    return scale.masked_fill(~(maximum.isfinite() & (maximum > 0)), 1.0)


@pytest.mark.parametrize("function", [scaling.rounded_to_range, scaling.rounded_alone])
@pytest.mark.parametrize("only", [E4M3, E5M2])
def test_a_trial_finds_out_a_division_that_is_not_exact(
    function: Fused[Any, Any], only: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In either format alone."""

    def compiled(*arguments: Any) -> Any:
        with monkeypatch.context() as patch:
            if only in arguments:
                patch.setattr(scaling, "scale_of", lesser_quotients)
            return function.as_written(*arguments)

    monkeypatch.setattr(function, "compile", lambda: compiled)
    [trial] = [trial for trial in trials.FP8_TRIALS if trial.function is function]
    problems = try_to_compile([trial], torch.device("cpu"))
    assert list(problems) == [function.name]
    assert problems[function.name].startswith("compiled it differs by ")


def test_attention_on_a_gpu_asks_for_the_same(found: dict[str, Any]) -> None:
    """Groups that are repeated, and the last queries of a sequence without a mask."""
    assert max(found["attention"].values()) < ATTENTION, found["attention"]


def test_a_kernel_that_counts_from_the_beginning_is_found_out(found: dict[str, Any]) -> None:
    assert found["parts"] == [True, False]
