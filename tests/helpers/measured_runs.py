"""Runs on GPUs as training leaves them, their times made by the planner's own formulas."""

from pathlib import Path
from typing import Any

from megatron_codemix.config.loader import dump_yaml
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.files import append_jsonl, write_json, write_text
from megatron_codemix.planner.assumptions import load_for_plan
from megatron_codemix.planner.hardware import make_cluster
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time import Constants, estimate_time
from megatron_codemix.resources import find_example
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory

H100 = "NVIDIA H100 80GB HBM3"


def config_of(model: str, *overrides: str) -> RunConfig:
    path = find_example(f"models/{model}.yaml")
    assert path is not None
    return load_for_plan(path, ("data.sequence_length=2048", *overrides)).config


def write_measured(
    folder: Path,
    config: RunConfig,
    world_size: int,
    constants: Constants,
    *,
    device: str | None = H100,
    backend: str = "cuda",
    gpu: str = "h100",
    steps: int = 40,
) -> Path:
    """A run as training leaves it, whose steps took what `constants` say; the first ones took ten
    times as long, and every eleventh three times."""
    run = RunDirectory(folder)
    write_text(run.config, dump_yaml(config))
    run.write_status(Status(identity="0" * 64, state="done", attempts=1))
    layout = config.layout.model_dump(mode="json")
    write_json(run.attempt(1) / "plan.json", {"world_size": world_size, "layout": layout})
    record = {"backend": backend} | ({} if device is None else {"device": device})
    write_json(run.attempt(1) / "provenance.json", record)
    job = Job.of_config(config, world_size)
    seconds = estimate_time(job, make_cluster(gpu), constants).step_seconds
    for step in range(1, steps + 1):
        factor = 10 if step <= 10 else 3 if step % 11 == 0 else 1
        line: dict[str, Any] = {"step": step, "time/step_seconds": seconds * factor}
        append_jsonl(run.metrics, line)
    return folder
