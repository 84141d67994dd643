"""Two data-parallel copies of the model beside one, by the clock: each in processes of their own,
with one thread each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from megatron_codemix.bench.evaluate.setting import Setting
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.errors import RunError
from megatron_codemix.files import read_json

_MIN_RATIO = 1.5


def copies(setting: Setting) -> Iterator[Row]:
    """The best of the repeats: others' work only adds to it."""
    found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for _ in range(setting.repeats):
        for num_copies, times in found.items():
            times.append(_time(setting, num_copies))
    cores = len(os.sched_getaffinity(0))
    note = f"by the clock, best of {setting.repeats}; {cores} cores, load {os.getloadavg()[0]:.0f}"
    for kind in ("multiple choice", "generation"):
        one, two = (min(each[kind] for each in found[size]) for size in (1, 2))
        yield Row(
            name=f"2 copies beside 1: {kind}",
            ours=two,
            peer=one,
            unit="s",
            goal=Goal(ratio=_MIN_RATIO),
            is_judged=cores >= 2,
            note=note,
        )


def _time(setting: Setting, num_copies: int) -> dict[str, float]:
    """Seconds of each kind of work. Raises RunError with what the ranks have said."""
    out = setting.home / "copies.json"
    job = {
        "run": str(setting.run.path),
        "choices": str(setting.choice_folder()),
        "num_items": setting.num_items,
        "prompts": setting.prompts(),
        "max_new_tokens": setting.max_new_tokens,
        "num_copies": num_copies,
        "out": str(out),
    }
    description = _write(setting.home / "copies_job.json", job)
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.copies_job", str(description)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
    )
    if done.returncode != 0:
        raise RunError(f"{num_copies} copies of the model failed:\n{done.stdout}")
    seconds: dict[str, float] = read_json(out)
    return seconds


def _write(path: Path, job: object) -> Path:
    path.write_text(json.dumps(job), encoding="utf-8")
    return path
