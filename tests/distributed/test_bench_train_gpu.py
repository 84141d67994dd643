"""The measuring code of `codemix bench train --gpu`, run on the CPU at a tiny shape: there it has
no kernels and no memory to tell of, and the rest is the same."""

import time
from dataclasses import dataclass, field, replace
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
    """The last one's steps as on a GPU that records them."""
    order: list[str] = []
    _note_order(order)
    for folder in folders[:-1]:
        measure.main(folder)
    write_json(folders[0] / "order.json", {"order": order})
    found = _as_on_gpu()
    measure.main(folders[-1])
    write_json(folders[-1] / "found.json", vars(found))


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


@dataclass
class Launched:
    """What the loop's measurement has asked of the device that stands for a GPU."""

    loop_losses: list[float] = field(default_factory=list)
    bare_losses: list[float] = field(default_factory=list)
    recordings: int = 0
    waiting_updates: int = 0
    """Of megatron-core's, which reads the norm."""
    bare: str = ""
    """Steps of the bare side, as they are launched and read."""
    engines: list[str] = field(default_factory=list)
    """Whose layers were asked for, at each model that was built."""


def _as_on_gpu() -> Launched:
    """Results are read one step late, and work can be recorded."""
    from megatron.core.optimizer import ChainedOptimizer
    from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

    from megatron_codemix.bench.train import bare, by_turns, setting
    from megatron_codemix.train import trainer
    from tests.helpers.recordings import RecordingBackend

    found = Launched()

    class Step:
        def __init__(self, launched: Any) -> None:
            self.launched = launched
            found.bare += "launched "

        def result(self) -> Any:
            found.bare += "read "
            return self.launched.result()

    class LateBackend(RecordingBackend):
        steps_ahead = 1

        def copy_to_host(self, tensor: Any) -> Any:
            return super().copy_to_host(tensor.clone())

        def record(self, work: Any) -> Any:
            found.recordings += 1
            return super().record(work)

    def step(self: Any) -> Any:
        found.waiting_updates += 1
        raise AssertionError("the host would wait for the norm")

    def noted(build: Any) -> Any:
        def calls(*given: Any, **named: Any) -> Any:
            found.engines.append(named["asked"].engine)
            return build(*given, **named)

        return calls

    def groups(*given: Any, is_recorded: bool) -> Any:
        made = initialize(*given)
        # Of what groups.py asks for, all but what needs PyTorch's build with CUDA.
        model_parallel_cuda_manual_seed(1, inference_rng_tracker=is_recorded, force_reset_rng=True)
        return made

    def measured(*given: Any) -> Any:
        costs = measure_loop(*given)
        found.loop_losses, found.bare_losses = costs.loop_losses, costs.bare_losses
        return costs

    launch_step = bare.launch_step
    initialize, measure_loop = setting.initialize_model_parallel, by_turns.measure_loop
    changed: list[tuple[Any, str, Any]] = [
        (setting, "select_backend", lambda device: LateBackend()),
        (setting, "initialize_model_parallel", groups),
        (ChainedOptimizer, "step", step),
        (bare, "launch_step", lambda *given, **named: Step(launch_step(*given, **named))),
        (bare, "build_trained", noted(bare.build_trained)),
        (trainer, "build_trained", noted(trainer.build_trained)),
        (measure, "measure_loop", measured),
    ]
    for owner, name, value in changed:
        setattr(owner, name, value)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def results(folder: Path) -> tuple[list[dict], float]:
    """Of both sides by turns, of ours in FP8, of the loop, and of the loop as on a GPU; and the
    seconds of all."""
    loop = LoopJob(
        model=MODEL,
        sequence=16,
        sequences=2,
        steps=4,
        backend=BackendConfig(device="cpu"),
        data_vocabulary=300,
    )
    as_on_gpu = replace(
        loop,
        backend=BackendConfig(cuda_graphs="microbatch"),
    )
    scaled = Fp8Config(recipe="torch_scaled_mm", rule="delayed")
    started = time.monotonic()
    found = run(
        folder,
        step_job(PrecisionConfig(kind="bf16"), OURS, PEER),
        step_job(scaled, OURS),
        loop,
        as_on_gpu,
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
    [[_, _, found, _], seconds] = results
    assert 0 < found["bare_seconds"] < seconds
    assert 0 < found["loop_seconds"] < seconds
    assert 0 <= found["data_wait_seconds"] <= found["most_data_wait_seconds"] < seconds


def test_on_a_gpu_nobody_waits_in_a_bare_step_and_it_is_recorded_too(results, folder: Path) -> None:
    [[*_, found], _] = results
    assert found["bare_seconds"] > 0
    asked = read_json_object(folder / "3" / "found.json")
    assert asked["recordings"] == 2
    assert asked["waiting_updates"] == 0
    assert asked["engines"] == ["auto", "auto"]
    block = f"launched {4 * 'launched read '}read "
    assert asked["bare"] == 2 * block
    assert asked["bare_losses"] == asked["loop_losses"]
    assert len(asked["bare_losses"]) == 10
