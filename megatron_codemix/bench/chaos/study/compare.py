"""Whether two studies ended alike: every file of both, but for what is set aside here by name."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from megatron_codemix.bench.chaos.compare import (
    TIMINGS,
    differing_tensors,
    differing_values,
    read_tensors,
)
from megatron_codemix.bench.chaos.study.job import runs_below
from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.data.audit import audit_ledger
from megatron_codemix.files import hash_file, read_json, read_jsonl
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory

Values = dict[str, str]
"""Place in a file -> value; JSON's text, so that equal means every bit of a number."""


@dataclass(frozen=True)
class Rule:
    """How files of a kind are compared."""

    pattern: str
    """Of their path below the study's folder; the first rule that matches is the file's."""
    how: Literal["not", "presence", "bytes", "json", "lines"]
    why: str
    """Why not, or why some of it is set aside."""
    but: tuple[str, ...] = ()
    """Regular expressions of places in it that are set aside, whole."""


_TIMES = r"(.*[._])?(seconds|hours|per_second|unix)"
_STARTS = r"(.*\.)?(attempts|failures|restarts|starts|study_starts)"

_TEMPORARY = Rule("*.tmp", "not", "left by a process that was killed while it wrote; counted")

RULES = (
    Rule("*.lock", "not", "held by who runs"),
    _TEMPORARY,
    Rule("*.log", "not", "what the starts said, with times"),
    Rule("report.html", "presence", "drawn from report.json and the metrics, times among them"),
    Rule("report.md", "presence", "drawn from report.json, times among them"),
    Rule("report/phases.csv", "presence", "drawn from report.json, times among them"),
    Rule("report/variants.csv", "presence", "drawn from report.json, times among them"),
    Rule("report.json", "json", "time, and how often it was started", (_TIMES, _STARTS)),
    Rule("study.json", "json", "time, and starts", (_TIMES, _STARTS, r"phases\..*\.\w+")),
    Rule(
        "*/status.json",
        "json",
        "time, starts, what was the last one's error",
        (_TIMES, _STARTS, "last_error"),
    ),
    Rule(
        "*/metrics.jsonl",
        "lines",
        "time, and memory of the process",
        (rf"\[\d+\]\.({'|'.join(TIMINGS)}).*",),
    ),
    Rule(
        "*/evaluation/*.summary.json",
        "json",
        "time, and answers that a start has from one that was killed",
        (_TIMES, "answers_kept_from_before"),
    ),
    Rule("*/attempts/last/plan.json", "bytes", ""),
    Rule(
        "*/attempts/last/provenance.json",
        "json",
        "host, and the command with its file descriptors",
        ("host", r"command\[\d+\]"),
    ),
    Rule("*/attempts/*", "not", "there are more; the last one's plan and data are compared"),
    Rule(
        f"*/checkpoints/last/{COMPLETE_MARKER}",
        "json",
        "time; hashes of files, whose tensors are compared instead",
        (_TIMES, r"files\..*"),
    ),
    Rule("*/checkpoints/last/*", "not", "its tensors are compared, one by one"),
    Rule("*/checkpoints/*", "not", "a stop saves at other steps; the last one is compared"),
    Rule("*", "bytes", ""),
)

_SET_ASIDE = {"not": "all of it", "presence": "all but that it is there"}
"""How a file is compared -> what is not."""


@dataclass
class Comparison:
    """What two studies have not in common."""

    differences: list[str] = field(default_factory=list)
    apart: dict[str, int] = field(default_factory=dict)
    """Pattern of a rule -> places of its files that differ, and are set aside."""
    num_tensors: int = 0
    num_files: int = 0
    """Compared."""
    num_incomplete: int = 0
    """Checkpoints without their marker that the disturbed study has left."""
    num_temporary: int = 0
    """Files of writes that were cut, of the disturbed study."""
    lost_samples: int = 0
    repeated_samples: int = 0


def compare_studies(alone: Path, disturbed: Path) -> Comparison:
    """Of two folders with the same study, the first of which was left alone."""
    found = Comparison()
    for name in _missing(alone, disturbed):
        found.differences.append(name)
    one, other = _files(alone), _files(disturbed)
    for name in sorted(one.keys() & other.keys()):
        rule = _rule_of(name)
        if rule.how in ("not", "presence"):
            continue
        found.num_files += 1
        left, right = (_values(path, rule) for path in (one[name], other[name]))
        for place in sorted(left.keys() | right.keys()):
            if left.get(place) == right.get(place):
                continue
            if any(re.fullmatch(pattern, place) for pattern in rule.but):
                found.apart[rule.pattern] = found.apart.get(rule.pattern, 0) + 1
                continue
            values = f"{left.get(place, 'absent')} and {right.get(place, 'absent')}"
            found.differences.append(f"{name}: {place}: {_short(values)}")
    found.num_temporary = sum(_rule_of(name) is _TEMPORARY for name in other)
    for run in runs_below(alone):
        _compare_runs(run, RunDirectory(disturbed / run.path.relative_to(alone)), found)
    if not found.num_tensors:
        found.differences.append(f"{alone}: nothing was trained, so that nothing is alike")
    return found


def _rule_of(name: str) -> Rule:
    return next(rule for rule in RULES if fnmatchcase(name, rule.pattern))


def set_aside(found: Comparison) -> dict[str, dict[str, Any]]:  # Any: JSON values
    """What is not compared, and in how many places it did differ, for the reader of a result."""
    return {
        rule.pattern: {
            "what": list(rule.but) or _SET_ASIDE[rule.how],
            "why": rule.why,
            "differed": found.apart.get(rule.pattern, 0) if rule.but else None,
        }
        for rule in RULES
        if rule.how in _SET_ASIDE or rule.but
    }


def _missing(alone: Path, disturbed: Path) -> Iterator[str]:
    """Files that only one of them has."""
    one, other = _files(alone).keys(), _files(disturbed).keys()
    for name in sorted(one ^ other):
        if _rule_of(name).how != "not":
            place = "the undisturbed study" if name in one else "the disturbed study"
            yield f"{name}: only {place} has it"


def _files(study: Path) -> dict[str, Path]:
    """Name below the study's folder -> file; the last attempt and the last checkpoint of a run are
    called `last`."""
    last: dict[str, str] = {}
    for run in runs_below(study):
        status, below = run.require_status(), run.path.relative_to(study).as_posix()
        last[f"{below}/attempts/{status.attempts}/"] = f"{below}/attempts/last/"
        folder = f"{below}/checkpoints/{run.checkpoint(status.step).name}/"
        last[folder] = f"{below}/checkpoints/last/"
    found = {}
    for path in study.rglob("*"):
        if path.is_file():
            name = path.relative_to(study).as_posix()
            start = next((start for start in last if name.startswith(start)), None)
            found[name if start is None else last[start] + name.removeprefix(start)] = path
    return found


def _values(path: Path, rule: Rule) -> Values:
    if rule.how == "bytes":
        return {"content": f"{path.stat().st_size} bytes, sha256 {hash_file(path)}"}
    return dict(_leaves(read_json(path) if rule.how == "json" else read_jsonl(path), ""))


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:  # Any: JSON values
    """Keys are joined by dots, places of lists in brackets."""
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves(below, f"{place}.{key}".removeprefix("."))
    elif isinstance(value, list) and value:
        for number, below in enumerate(value):
            yield from _leaves(below, f"{place}[{number}]")
    else:
        yield place, json.dumps(value)


def _compare_runs(alone: RunDirectory, disturbed: RunDirectory, found: Comparison) -> None:
    """The last checkpoint; samples; the ledger, held against the plan of the data; and that nothing
    is left of saves that were cut: the last one removes it."""
    name = alone.path.name
    status = disturbed.read_status()
    step = alone.require_status().step
    incomplete = [folder.name for folder in disturbed.incomplete_checkpoints()]
    found.num_incomplete += len(incomplete)
    if status is not None and status.state == "done":
        found.differences += [f"{name}: {one} is left without its marker" for one in incomplete]
    if status is None or not (disturbed.checkpoint(step) / COMPLETE_MARKER).exists():
        found.differences.append(f"{name}: no checkpoint after step {step}")
        return
    folders = alone.checkpoint(step), disturbed.checkpoint(step)
    found.num_tensors += len(read_tensors(folders[0]))
    found.differences += [f"{name}: tensor {tensor}" for tensor in differing_tensors(*folders)]
    found.differences += [f"{name}: {place}" for place in differing_values(*folders)]
    lost, repeated = lost_and_repeated(alone, disturbed)
    found.lost_samples += lost
    found.repeated_samples += repeated
    if lost or repeated:
        found.differences.append(f"{name}: {lost} samples lost, {repeated} repeated")
    for audited in audit_ledger(disturbed.path):
        found.differences += [f"{name}: {problem}" for problem in audited.problems]


def lost_and_repeated(alone: RunDirectory, disturbed: RunDirectory) -> tuple[int, int]:
    """Samples that the disturbed run has read less often than it should, and more often, at least:
    by steps in its metrics, each of which stands for a batch, or by source at the end of the
    ledgers, whichever tells of more. A step that neither has is lost once."""
    by_metrics, by_ledger = _by_metrics(alone, disturbed), _by_ledger(alone, disturbed)
    return max(by_metrics[0], by_ledger[0]), max(by_metrics[1], by_ledger[1])


def _by_metrics(alone: RunDirectory, disturbed: RunDirectory) -> tuple[int, int]:
    batches = batch_sizes(load_run_config(disturbed.config))
    made = Counter(int(line["step"]) for line in read_jsonl(disturbed.metrics))
    lost = repeated = 0
    for step in range(1, alone.require_status().num_steps + 1):
        times, batch = made.pop(step, 0), batches.sequences(step - 1)
        lost += batch if times == 0 else 0
        repeated += max(0, times - 1) * batch
    repeated += sum(times * batches.sequences(step - 1) for step, times in made.items())
    return lost, repeated


def _by_ledger(alone: RunDirectory, disturbed: RunDirectory) -> tuple[int, int]:
    one, other = _consumed(alone), _consumed(disturbed)
    return sum((one - other).values()), sum((other - one).values())


def _consumed(run: RunDirectory) -> Counter[str]:
    """Samples of each source at the last checkpoint; none where the ledger has no line."""
    sources = {} if not (lines := read_jsonl(run.ledger)) else lines[-1]["sources"]
    return Counter({name: source["consumed_samples"] for name, source in sources.items()})


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
