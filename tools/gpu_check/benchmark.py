"""A few rows of `codemix bench train --gpu`; the whole table is a command of its own."""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from megatron_codemix.bench.train.gpu.cases import Case, select_cases
from megatron_codemix.bench.train.gpu.figures import shortcomings
from megatron_codemix.files import read_jsonl
from tools.gpu_check.commands import CommandError
from tools.gpu_check.cut_short import row_cut_short
from tools.gpu_check.place import Place
from tools.gpu_check.results import Check

Row = Mapping[str, Any]  # Any: JSON values

_SEQUENCE = "4096"
_ASKED = ("--only", "step", "--sequences", _SEQUENCE, "--steps", "10", "--warm-up", "2", "--json")
"""Short ones: what they cost beside their steps, starting and compiling, is most of their time."""


@dataclass(frozen=True)
class _Rows:
    """Of one command."""

    models: str
    precisions: str
    variants: str = "default"
    has_peer: bool = False
    """Plain PyTorch is compiled before it is measured: time that one row is given."""

    def cases(self) -> list[Case]:
        return select_cases(self.models, _SEQUENCE, self.precisions, ["step"], self.variants)

    def names(self) -> list[str]:
        return [case.name for case in self.cases()]

    def arguments(self) -> list[str]:
        named = {
            "--models": self.models,
            "--precisions": self.precisions,
            "--variants": self.variants,
        }
        words = [word for option in named.items() for word in option]
        return words if self.has_peer else [*words, "--no-peer"]


_COMMANDS = (
    _Rows("470m", "bf16,torch_scaled_mm", has_peer=True),
    _Rows("160m", "bf16"),
    _Rows("160m", "bf16", variants="graphs"),
)
"""In the order in which they are wanted, where the time is not enough for all."""


def names() -> list[str]:
    """Of the rows."""
    return [name for rows in _COMMANDS for name in rows.names()]


def section(place: Place) -> Iterator[Check]:
    """A line for each row; those that were finished count where a command does not end. One for
    which there is less time than rows have taken so far is left out."""
    if not place.has_gpu:
        yield from (Check(name, "skipped", place.why_no_gpu) for name in names())
        return
    begun, finished = time.monotonic(), 0
    for number, rows in enumerate(_COMMANDS):
        each = (time.monotonic() - begun) / finished if finished else 0.0
        if finished and place.seconds_left < each * len(rows.names()):
            reason = f"not begun: {place.seconds_left:.0f} s are left, and a row took {each:.0f} s"
            yield from (Check(name, "skipped", reason) for name in rows.names())
            continue
        yield from _measured(place, rows, number)
        finished += len(rows.names())


def _measured(place: Place, rows: _Rows, number: int) -> Iterator[Check]:
    kept = place.folder / f"benchmark{number}.jsonl"
    work = place.folder / "benchmark"
    shutil.rmtree(work, ignore_errors=True)  # of a command that was killed
    problem, found = "the command has left it out", {}
    try:
        said = place.codemix(
            "bench", "train", "--gpu", *_ASKED, *rows.arguments(), "--results", kept,
            "--folder", work, log=f"benchmark{number}",
        )  # fmt: skip
        found = {row["name"]: row for row in json.loads(said)["rows"]}
    except CommandError as error:
        problem = str(error)
        found = {line["row"]["name"]: line["row"] for line in read_jsonl(kept)}
    assert place.gpu is not None, "rows are measured on a GPU"
    for case in rows.cases():
        if case.name in found:
            yield judged_row(found[case.name])
        else:
            begun = row_cut_short(work, case, place.gpu, problem)
            yield Check(case.name, "failed", problem, rows=() if begun is None else (begun,))


def judged_row(row: Row) -> Check:
    """Fails where something was begun and lost; goals are for the whole table to meet."""
    lost = shortcomings({**row, "goals": []})
    if row["status"] == "skipped":
        return Check(row["name"], "skipped", row["reason"])
    rows = (dict(row),) if row["status"] == "measured" else ()
    return Check(row["name"], "failed" if lost else "passed", "; ".join(lost), rows=rows)
