"""The measuring code of `codemix bench train --gpu`, run on the CPU at a tiny shape: there it has
no kernels and no memory to tell of, and the rest is the same."""

import time
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.bench.train.gpu import measure
from megatron_codemix.bench.train.gpu.job import OURS, PEER, LoopJob, StepJob, Warmth
from megatron_codemix.bench.train.gpu.processes import JOB, RESULT
from megatron_codemix.config.schema import BackendConfig, Fp8Config, ModelConfig, PrecisionConfig
from megatron_codemix.files import read_json_object, write_json
from tests.helpers import server

MODEL = ModelConfig(
    num_layers=1,
    hidden_size=32,
    ffn_hidden_size=64,
    num_attention_heads=2,
    num_query_groups=1,
    vocabulary_size=1024,
    tie_embeddings=False,
)
WARMTH = Warmth(least_seconds=0, most_seconds=0)


def step_job(precision: PrecisionConfig | Fp8Config, *sides: str) -> StepJob:
    return StepJob(
        model=MODEL,
        precision=precision,
        sequence=16,
        sequences=2,
        steps=7,
        sides=sides,
        backend=BackendConfig(device="cpu"),
        is_compiled=False,  # it needs a compiler, and minutes
        warmth=WARMTH,
    )


def run(folder: Path, *jobs: StepJob | LoopJob) -> list[dict]:
    """What each finds, one after the other in one process."""
    folders = [folder / str(number) for number in range(len(jobs))]
    for place, job in zip(folders, jobs, strict=True):
        place.mkdir()
        write_json(place / JOB, job.as_dict())
    process = server.context().Process(target=_measure_all, args=(folders,))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return [read_json_object(place / RESULT) for place in folders]


def _measure_all(folders: list[Path]) -> None:
    order: list[str] = []
    _note_order(order)
    for folder in folders:
        measure.main(folder)
    write_json(folders[0] / "order.json", {"order": order})


def _note_order(order: list[str]) -> None:
    """When sides are timed alone and by turns, and when they are profiled."""

    def noted(name: str) -> None:
        work = getattr(measure, name)

        def calls(*given: Any, **named: Any) -> Any:
            order.append(name)
            return work(*given, **named)

        setattr(measure, name, calls)

    for name in ("timed", "by_turns", "kernels_of"):
        noted(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def results(folder: Path) -> tuple[list[dict], float]:
    """Of both sides by turns, of ours in FP8 and of the loop; and the seconds of all."""
    loop = LoopJob(
        model=MODEL,
        sequence=16,
        sequences=2,
        steps=4,
        backend=BackendConfig(device="cpu"),
        data_vocabulary=300,
    )
    scaled = Fp8Config(recipe="torch_scaled_mm", rule="delayed")
    started = time.monotonic()
    found = run(
        folder,
        step_job(PrecisionConfig(kind="bf16"), OURS, PEER),
        step_job(scaled, OURS),
        loop,
    )
    return found, time.monotonic() - started


def test_both_sides_are_timed_by_turns(results) -> None:
    [[found, *_], seconds] = results
    assert found["by_turns"] is True
    assert "out_of_memory" not in found
    total = 0.0
    for side in (found[OURS], found[PEER]):
        assert len(side["all_step_seconds"]) == 7
        assert side["step_seconds"] == sorted(side["all_step_seconds"])[3] > 0
        assert side["warm_up_steps"] == 15
        total += sum(side["all_step_seconds"])
    assert total < seconds
    assert "not compiled, scaled_dot_product_attention" in found[PEER]["what"]


def test_a_side_is_timed_alone_before_the_other_is_there_and_profiled_last(
    results, folder: Path
) -> None:
    [[found, *_], _] = results
    for side in (found[OURS], found[PEER]):
        assert side["alone_step_seconds"] > 0
    assert found[OURS]["alone_step_seconds"] != found[OURS]["step_seconds"]  # by turns, again
    order = read_json_object(folder / "0" / "order.json")["order"]
    of_both, of_fp8 = ["timed", "timed", "by_turns", *2 * ["kernels_of"]], ["timed", "kernels_of"]
    assert order == [*of_both, *of_fp8]


def test_a_cpu_has_neither_kernels_nor_memory_to_tell_of(results) -> None:
    [[found, *_], _] = results
    for side in (found[OURS], found[PEER]):
        assert (
            side["kernels"] is side["peak_memory_bytes"] is side["process_reserved_bytes"] is None
        )


def test_ours_is_measured_alone_in_fp8(results) -> None:
    [[_, found, *_], _] = results
    assert set(found) == {OURS}
    assert found[OURS]["step_seconds"] > 0


def test_the_loop_is_measured_beside_bare_steps_and_alone(results) -> None:
    """In a model whose table is larger than the data's vocabulary."""
    [[_, _, found], seconds] = results
    assert 0 < found["bare_seconds"] < seconds
    assert 0 < found["loop_seconds"] < seconds
    assert 0 <= found["data_wait_seconds"] <= found["most_data_wait_seconds"] < seconds
