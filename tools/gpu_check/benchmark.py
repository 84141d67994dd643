"""A few rows of `codemix bench train --gpu`; the whole table is a command of its own."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from megatron_codemix.bench.train.gpu.cases import select_cases
from megatron_codemix.bench.train.gpu.figures import shortcomings
from megatron_codemix.files import read_jsonl
from tools.gpu_check.place import CommandError, Place
from tools.gpu_check.results import Check

Row = Mapping[str, Any]  # Any: JSON values

_MODEL, _SEQUENCE, _PRECISIONS = "470m", "4096", "bf16,torch_scaled_mm"
_ASKED = ("--only", "step", "--models", _MODEL, "--sequences", _SEQUENCE, "--precisions",
          _PRECISIONS, "--steps", "10", "--warm-up", "2", "--json")  # fmt: skip
"""Short ones: what they cost beside their steps, starting and compiling, is most of their time."""


def names() -> list[str]:
    """Of the rows."""
    cases = select_cases(_MODEL, _SEQUENCE, _PRECISIONS, ["step"])
    return [case.name for case in cases]


def section(place: Place) -> Iterator[Check]:
    """A line for each row; those that were finished count where the command does not end."""
    if not place.has_gpu:
        yield from (Check(name, "skipped", place.why_no_gpu) for name in names())
        return
    kept, work = place.folder / "benchmark.jsonl", place.folder / "benchmark"
    problem, rows = "the command has left it out", {}
    try:
        said = place.codemix(
            "bench", "train", "--gpu", *_ASKED, "--results", kept, "--folder", work, log="benchmark"
        )
        rows = {row["name"]: row for row in json.loads(said)["rows"]}
    except CommandError as error:
        problem = str(error)
        rows = {line["row"]["name"]: line["row"] for line in read_jsonl(kept)}
    for name in names():
        yield judged_row(rows[name]) if name in rows else Check(name, "failed", problem)


def judged_row(row: Row) -> Check:
    """Fails where something was begun and lost; goals are for the whole table to meet."""
    lost = shortcomings({**row, "goals": []})
    if row["status"] == "skipped":
        return Check(row["name"], "skipped", row["reason"])
    rows = (dict(row),) if row["status"] == "measured" else ()
    return Check(row["name"], "failed" if lost else "passed", "; ".join(lost), rows=rows)
