"""The command: section by section, a line for each check, the file after each section."""

import argparse
import datetime
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.gpu_check import benchmark, checkpoints, gpu_tests, losses, machine
from tools.gpu_check.place import Place
from tools.gpu_check.results import FULL_BENCHMARK, Check, Results


@dataclass(frozen=True)
class Section:
    """What is run, and for how long at most."""

    title: str
    run: Callable[[Place], Iterator[Check]]
    limit_seconds: float


SECTIONS = {
    "machine": Section("what is there", machine.section, 40),
    "tests": Section("tests on the GPU", gpu_tests.section, 170),
    "losses": Section("losses on CPU and GPU", losses.cpu_and_gpu, 90),
    "fp8": Section("FP8 beside BF16", losses.fp8, 150),
    "checkpoints": Section("checkpoints between CPU and GPU", checkpoints.section, 60),
    "benchmark": Section("benchmark, a few rows", benchmark.section, 80),
}
"""By name, in their order; together under 10 minutes."""

_MORE_ON_A_CPU = 4
"""Such machines are often shared, and nobody pays for their minutes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where nothing has failed, 1 where a section has."""
    asked = _read(arguments)
    found = machine.this_machine()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    results = Results(asked.out, found, now)
    folder = asked.out.with_name(asked.out.name + ".work")
    if not results.is_continued:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{found.card or 'no GPU'}, torch {found.torch}, commit {found.commit}: {asked.out}")
    for number, name in enumerate(asked.sections, start=1):
        head = f"[{number}/{len(asked.sections)}] {name}"
        if name in results.sections:
            print(f"{head}: {results.sections[name]['status']} before, {results.date}")
            continue
        _run_section(head, name, Place(folder, has_gpu=bool(found.card)), results)
    return _finish(results, folder)


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/gpu_check.sh", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--sections", default=",".join(SECTIONS), help="names, with commas")
    asked = parser.parse_args(arguments)
    asked.out, asked.sections = asked.out.absolute(), asked.sections.split(",")
    unknown = [name for name in asked.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"--sections: no {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    return asked


def _run_section(head: str, name: str, place: Place, results: Results) -> None:
    section = SECTIONS[name]
    limit = section.limit_seconds * (1 if place.has_gpu else _MORE_ON_A_CPU)
    print(f"{head}: {section.title}, {limit:g} s at most", flush=True)
    started = time.monotonic()
    place.ends_at = started + limit
    checks = []
    for check in section.run(place):
        checks.append(check)
        print(f"  {time.monotonic() - started:4.0f} s  {_line(check)}", flush=True)
    outcome = results.add(name, section.title, checks, time.monotonic() - started)
    print(f"  {outcome}", flush=True)


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
    print(f"results: {results.path}; into docs/gpu_results.md: tools/write_gpu_results.py FILE")
    print(f"the full table of benchmarks: {FULL_BENCHMARK}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
