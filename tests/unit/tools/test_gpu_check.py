"""tools/gpu_check.sh: what it says, keeps and goes on with. Its numbers are for GPUs to give."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import commands
from tools.gpu_check import checkpoints
from tools.gpu_check.gpu_tests import read_report
from tools.gpu_check.page import BEGIN, END, NOT_MEASURED, expected_checks, put_into
from tools.gpu_check.place import NO_GPU, CommandError, Place
from tools.gpu_check.results import Check, Machine, Results
from tools.gpu_check.runs import largest_difference

ROOT = Path(__file__).parents[3]
MACHINE = Machine(host="here", card="NVIDIA H100", torch="2.13.0", commit="abc")


class ForkedPlace(Place):
    """Its commands are forked from the tests' server, which has made their imports."""

    def codemix(self, *words: str | Path, hides_gpu: bool = False, log: str = "") -> str:
        done = commands.codemix(*words, cwd=ROOT)
        if done.returncode:
            raise CommandError(done.stderr, done.returncode)
        return done.stdout


def check_here(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "tools.gpu_check", *map(str, arguments)]
    environment = {**commands.ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    return subprocess.run(program, capture_output=True, text=True, env=environment, check=False)


def test_without_a_gpu_the_rest_is_skipped_with_reasons(tmp_path: Path) -> None:
    """And the same command goes on from there."""
    out = tmp_path / "check.json"
    arguments = ("--out", out, "--sections", "tests,benchmark")
    done = check_here(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    sections = json.loads(out.read_text())["sections"]
    assert [section["status"] for section in sections.values()] == ["skipped", "skipped"]
    assert {check["detail"] for check in sections["tests"]["checks"]} == {NO_GPU}
    assert "--gpu" in sections["benchmark"]["checks"][0]["detail"]
    assert "codemix bench train --gpu" in done.stdout
    again = check_here(*arguments)
    assert again.stdout.count("skipped before") == 2


def test_a_section_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = check_here("--out", tmp_path / "check.json", "--sections", "tests,speed")
    assert done.returncode == 2
    assert "no speed; there are machine, tests" in done.stderr


def test_a_run_resumed_where_it_was_saved_has_the_same_losses(tmp_path: Path) -> None:
    """The other three ways need a GPU."""
    place = ForkedPlace(tmp_path, has_gpu=False)
    found = {check.name: check for check in checkpoints.section(place)}
    assert list(found) == checkpoints.names()
    on_cpu = found.pop("saved on the CPU, resumed on the CPU")
    assert (on_cpu.status, on_cpu.value, on_cpu.bound) == ("passed", 0.0, 0.0)
    assert {check.status for check in found.values()} == {"skipped"}


def test_a_machine_or_commit_of_its_own_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "check.json"
    first = Results(path, MACHINE, "monday")
    first.add("losses", "losses", [Check("fp32", "passed", value=1e-5, bound=1e-4)], 1.0)
    first.add("fp8", "FP8", [Check("a", "passed"), Check("b", "failed", "why")], 1.0)
    again = Results(path, MACHINE, "tuesday")
    assert (set(again.sections), again.date) == ({"losses"}, "monday")
    for other in (MACHINE._replace(commit="def"), MACHINE._replace(card="")):
        assert not Results(path, other, "tuesday").sections


def test_losses_that_are_no_numbers_are_far_apart() -> None:
    assert largest_difference([1.0, float("nan")], [1.0, 2.0]) == float("inf")


def test_of_the_tests_each_file_has_a_line(tmp_path: Path) -> None:
    report = tmp_path / "tests.xml"
    report.write_text(
        "<testsuites><testsuite>"
        '<testcase classname="tests.gpu.test_step" name="one"/>'
        '<testcase classname="tests.gpu.test_step" name="two"><failure message="far off"/>'
        '</testcase><testcase classname="tests.gpu.test_ranks" name="three">'
        '<skipped message="no FP8"/></testcase></testsuite></testsuites>'
    )
    assert list(read_report(report)) == [
        Check("test_ranks", "skipped", "1 skipped; three: no FP8"),
        Check("test_step", "failed", "1 passed, 1 failed; two: far off"),
    ]


def test_the_page_has_a_row_for_each_check_and_invents_none() -> None:
    """As it stands in the checkout: nothing has been measured yet."""
    page = (ROOT / "docs" / "gpu_results.md").read_text()
    rows = page.split(BEGIN)[1].split(END)[0].splitlines()
    for section, names in expected_checks().items():
        for name in names:
            assert sum(row.startswith(f"| {section} | {name} |") for row in rows) == 1, name
    if "no machine with a GPU has run it" in page:
        assert put_into(page, None) == page


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    results = Results(tmp_path / "check.json", MACHINE, "2026-11-23")
    name = "fp32: GPU beside CPU"
    results.add("losses", "losses", [Check(name, "passed", "all", 2e-5, 1e-4)], 1.0)
    row = {"name": "470m", "status": "measured", "tokens_per_second": 51234.5, "peer": {}}
    results.add("benchmark", "rows", [Check("470m", "passed", rows=(row,))], 1.0)
    page = put_into(f"a\n{BEGIN}\n{END}\nb\n", json.loads(results.path.read_text()))
    assert "NVIDIA H100, torch 2.13.0, commit `abc`, 2026-11-23." in page
    assert f"| losses | {name} | passed | 2e-05 | 0.0001 |" in page
    assert f"| losses | bf16: GPU beside CPU | {NOT_MEASURED} |  |  |" in page
    assert "| 470m | measured | 5.123e+04 |" in page


def test_a_place_without_the_package_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "gpu_check.sh", tmp_path / "tools")
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho 'ModuleNotFoundError: no torch' >&2\nexit 1\n")
    python.chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / "tools" / "gpu_check.sh")],
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=False,
    )
    assert done.returncode == 2
    assert "does not load" in done.stderr
    assert "tools/setup.sh" in done.stderr


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    place = Place(tmp_path, has_gpu=False, ends_at=0.0)
    with pytest.raises(CommandError, match="not done in the section's time"):
        place.run([sys.executable, "-c", "import time; time.sleep(600)"])
