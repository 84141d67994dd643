"""The command: section by section, a line for each check, the file after each section."""

import argparse
import datetime
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from megatron_codemix.cli.ending import run_readably
from megatron_codemix.errors import ConfigError
from megatron_codemix.train.provenance import source_commit
from tools.gpu_check import benchmark, checkpoints, gpu_tests, losses, machine
from tools.gpu_check.place import Place
from tools.gpu_check.results import FULL_BENCHMARK, Check, Results
from tools.gpu_check.runs import surprise


@dataclass(frozen=True)
class Section:
    """What is run, and for how long at most."""

    title: str
    run: Callable[[Place], Iterator[Check]]
    limit_seconds: float
    own_seconds: float
    """That the sections before it leave to it, whatever they take."""


SECTIONS = {
    "machine": Section("what is there", machine.section, 40, 20),
    "tests": Section("tests on the GPU", gpu_tests.section, 170, 130),
    "losses": Section("losses on CPU and GPU", losses.cpu_and_gpu, 110, 60),
    "benchmark": Section("benchmark, a few rows", benchmark.section, 300, 190),
    "checkpoints": Section("checkpoints between CPU and GPU", checkpoints.section, 60, 40),
    "fp8": Section("FP8 beside BF16", losses.fp8, 150, 90),
}
"""By name, in their order: what is wanted most comes first."""

TOTAL_SECONDS = 550.0
"""Of all that one command does, so that it ends in under 10 minutes with the start before it and
what a section takes to be ended."""

_MORE_ON_A_CPU = 4
"""Such machines are often shared, and nobody pays for their minutes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where nothing has failed; 1 where a section of the file has, or there is a GPU that PyTorch
    cannot use; 2 where the input is wrong, 130 for Ctrl-C."""
    return run_readably(partial(_check, arguments))


def _check(arguments: Sequence[str] | None) -> int:
    started = time.monotonic()
    out, names = read_arguments(arguments)
    out.parent.mkdir(parents=True, exist_ok=True)  # here: a path that cannot be is told at once
    gpu, problem = machine.look_for_gpu()
    found = machine.this_machine(gpu)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    results = Results(out, found, source_commit() or "not known", now)
    folder = out.with_name(out.name + ".work")
    if results.word:
        print(results.word)
    if not results.is_continued:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{found.card or 'no GPU'}, torch {found.torch}, commit {results.commit}: {out}")
    place = Place(folder, gpu, problem)
    ends_at = started + TOTAL_SECONDS * _times(place)
    for number, name in enumerate(names, start=1):
        head = f"[{number}/{len(names)}] {name}"
        if results.is_done(name):
            print(f"{head}: {results.sections[name]['status']} before, {results.date}")
            continue
        behind = [each for each in names[number:] if not results.is_done(each)]
        left = (ends_at - time.monotonic()) / _times(place)
        _run_section(head, name, place, results, _times(place) * limit_of(name, behind, left))
    if problem:
        print(f"failed: {problem}")
    code = _finish(results, folder)
    return 1 if problem else code


def read_arguments(arguments: Sequence[str] | None) -> tuple[Path, list[str]]:
    """The results' file and the names of the sections in their order. Raises ConfigError."""
    parser = argparse.ArgumentParser(prog="tools/gpu_check.sh", description=__doc__)
    parser.add_argument("--out", default="runs/gpu_check.json")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="names, with commas")
    asked = parser.parse_args(arguments)
    out = Path(os.path.expanduser(asked.out)).absolute()
    problems = []
    if not asked.out:
        problems.append("--out: the path is empty; name a file, or leave the option out")
    elif out.is_dir():
        problems.append(f"--out: {out} is a folder; name a file, such as {out / 'gpu_check.json'}")
    named = [name.strip() for name in asked.sections.split(",") if name.strip()]
    unknown = [name for name in named if name not in SECTIONS]
    if unknown or not named:
        what = f"no {', '.join(unknown)}" if unknown else "nothing is named"
        problems.append(f"--sections: {what}; there are {', '.join(SECTIONS)}")
    if problems:
        raise ConfigError(problems)
    return out, [name for name in SECTIONS if name in named]


def limit_of(name: str, behind: Sequence[str], left: float) -> float:
    """Seconds that the section may take of those that are left, less what is of the ones behind it
    that are still to be made."""
    reserved = sum(SECTIONS[each].own_seconds for each in behind)
    return min(SECTIONS[name].limit_seconds, max(0.0, left - reserved))


def _run_section(head: str, name: str, place: Place, results: Results, limit: float) -> None:
    section = SECTIONS[name]
    started = time.monotonic()
    print(f"{head}: {section.title}, {limit:.0f} s at most", flush=True)
    place.ends_at = started + limit
    checks = []
    for check in checks_of(section, place):
        checks.append(check)
        print(f"  {time.monotonic() - started:4.0f} s  {_line(check)}", flush=True)
    outcome = results.add(name, section.title, checks, time.monotonic() - started)
    print(f"  {outcome}", flush=True)


def checks_of(section: Section, place: Place) -> Iterator[Check]:
    """Those of the section, and a failed one where it ends in a way that nobody thought of: the
    sections behind it are other ones."""
    try:
        yield from section.run(place)
    except Exception as error:
        yield surprise(section.title, error)


def _times(place: Place) -> int:
    """Of the limits."""
    return 1 if place.has_gpu else _MORE_ON_A_CPU


def _line(check: Check) -> str:
    said = [line.strip(" │") for line in check.detail.split("\n")]
    last = next((line for line in reversed(said) if any(map(str.isalnum, line))), "")
    compared = "" if check.value is None else f" {check.value:.3g} (bound {check.bound:g}),"
    return f"{check.status:<8}{check.name}:{compared} {last}"


def _finish(results: Results, folder: Path) -> int:
    failed = [name for name, outcome in results.outcomes() if outcome == "failed"]
    is_whole = set(results.sections) >= set(SECTIONS)
    if failed:
        print(f"failed: {', '.join(failed)}; logs of the commands: {folder}")
    elif is_whole:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"results: {results.path}; into docs/gpu_results.md:")
    print(f"  {sys.executable} tools/write_gpu_results.py {results.path}")
    print(f"the full table of benchmarks: {FULL_BENCHMARK}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
