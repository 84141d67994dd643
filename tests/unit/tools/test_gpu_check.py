"""tools/gpu_check.sh: what it says, keeps and goes on with. Its numbers are for GPUs to give."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.backend.environment import may_have_gpus
from megatron_codemix.bench.train.gpu.cases import select_cases
from megatron_codemix.bench.train.gpu.job import StepJob, Warmth
from megatron_codemix.bench.train.gpu.machine import Machine as Gpu
from megatron_codemix.config.schema import Fp8Config
from megatron_codemix.files import append_jsonl, write_json
from megatron_codemix.runs import RunDirectory
from tests.helpers import commands
from tools.gpu_check import benchmark, checkpoints, gpu_tests, machine
from tools.gpu_check.__main__ import SECTIONS, TOTAL_SECONDS, Section, checks_of, limit_of
from tools.gpu_check.commands import CommandError
from tools.gpu_check.losses import why_not
from tools.gpu_check.page import BEGIN, END, NOT_MEASURED, expected_checks, put_into
from tools.gpu_check.place import NO_GPU, Place
from tools.gpu_check.results import Check, Machine, Results
from tools.gpu_check.runs import checked, largest_difference, require_resumed

ROOT = Path(__file__).parents[3]
MACHINE = Machine(
    host="here", card="NVIDIA H100", driver="550", torch="2.13.0", engine="", sources="def"
)
GPU = Gpu(
    card="NVIDIA H100 80GB HBM3",
    driver="550.54.15",
    capability=(9, 0),
    memory_bytes=84_934_000_000,
    torch="2.13.0",
    built_with="12.9",
    megatron_core="0.16.1",
    engine="2.11.0",
    engine_problem=None,
    commit="abc",
    sources="def",
)


class ForkedPlace(Place):
    """Its commands are forked from the tests' server, which has made their imports."""

    def codemix(self, *words: str | Path, hides_gpu: bool = False, log: str = "") -> str:
        done = commands.codemix(*words, cwd=ROOT)
        if done.returncode:
            raise CommandError(done.stderr, done.returncode)
        return done.stdout


class AnsweredPlace(Place):
    """Its command ends so."""

    leaves: Mapping[str, dict] = {}
    """Files in its folder that it leaves as they were."""

    def ends_with(self, answer: "str | CommandError", *rows: dict) -> "AnsweredPlace":
        self.answer, self.rows = answer, rows
        return self

    def codemix(self, *words: str | Path, hides_gpu: bool = False, log: str = "") -> str:
        for name, content in self.leaves.items():
            write_json(Path(words[words.index("--folder") + 1]) / name, content)
        for row in self.rows:
            append_jsonl(Path(words[words.index("--results") + 1]), {"row": row})
        if isinstance(self.answer, CommandError):
            raise self.answer
        return self.answer


def check_here(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-P", "-m", "tools.gpu_check", *map(str, arguments)]
    environment = {**commands.ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    return subprocess.run(program, capture_output=True, text=True, env=environment, check=False)


def test_without_a_gpu_the_rest_is_skipped_with_reasons(tmp_path: Path) -> None:
    """And the same command goes on from there."""
    if may_have_gpus():
        pytest.skip("this machine has a GPU")
    out = tmp_path / "check.json"
    arguments = ("--out", out, "--sections", "tests,benchmark")
    done = check_here(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    sections = json.loads(out.read_text())["sections"]
    assert [section["status"] for section in sections.values()] == ["skipped", "skipped"]
    for section in sections.values():
        assert {check["detail"] for check in section["checks"]} == {NO_GPU}
    assert "codemix bench train --gpu" in done.stdout
    again = check_here(*arguments)
    assert again.stdout.count("skipped before") == 2


def test_a_run_resumed_where_it_was_saved_has_the_same_losses(tmp_path: Path) -> None:
    """The other three ways need a GPU."""
    place = ForkedPlace(tmp_path, gpu=None)
    found = {check.name: check for check in checkpoints.section(place)}
    assert list(found) == checkpoints.names()
    on_cpu = found.pop("saved on the CPU, resumed on the CPU")
    assert (on_cpu.status, on_cpu.value, on_cpu.bound) == ("passed", 0.0, 0.0)
    assert {check.status for check in found.values()} == {"skipped"}
    # A run from the start has the same losses, and is no resumed one.
    with pytest.raises(CommandError, match=r"begun anew: .* 'resume after step 10 of this run'"):
        require_resumed(RunDirectory(tmp_path / "runs" / "fp32_cpu"), 10)


@pytest.mark.parametrize(
    "other", [MACHINE._replace(sources="xyz"), MACHINE._replace(card="", driver="")]
)
def test_a_machine_or_sources_of_its_own_begin_anew(tmp_path: Path, other: Machine) -> None:
    path = tmp_path / "check.json"
    first = Results(path, MACHINE, "abc", "monday")
    first.add("losses", "losses", [Check("fp32", "passed", value=1e-5, bound=1e-4)], 1.0)
    first.add("fp8", "FP8", [Check("a", "passed"), Check("b", "failed", "why")], 1.0)
    again = Results(path, MACHINE, "abc+changes", "tuesday")
    assert [again.is_done(name) for name in ("losses", "fp8", "tests")] == [True, False, False]
    assert (again.commit, again.date) == ("abc", "monday")
    written = path.read_bytes()
    anew = Results(path, other, "abc", "tuesday")
    assert not anew.sections
    kept = tmp_path / "check.1.json"
    assert anew.word == f"{path} is of another machine or other sources: kept as {kept}"
    assert kept.read_bytes() == written


def test_what_nobody_thought_of_fails_one_check(tmp_path: Path) -> None:
    """Of a section what came before it stays."""

    def run(place: Place) -> Iterator[Check]:
        yield Check("first", "passed")
        yield checked("second", lambda: Check("", "passed", value=float("nope")))
        raise KeyError("third")

    statuses = [
        (check.name, check.status, check.detail[:10])
        for check in checks_of(Section("all", run, 1.0, 1.0), Place(tmp_path, gpu=None))
    ]
    assert statuses == [
        ("first", "passed", ""),
        ("second", "failed", "ValueError"),
        ("all", "failed", "KeyError: "),
    ]


def test_a_gpu_that_pytorch_cannot_use_is_a_failure(tmp_path: Path) -> None:
    report = json.dumps({"versions": {}, "checks": [], "backend": "cpu"})
    for problem, failed in ((None, []), ("no kernel image", ["no kernel image"])):
        place = AnsweredPlace(tmp_path, None, problem).ends_with(report)
        assert [check.detail for check in machine.section(place)] == failed


@pytest.mark.parametrize(
    ("changes", "skipped"),
    [
        ({}, []),
        ({"engine": None}, ["tensorwise", "blockwise"]),
        ({"built_with": "12.8"}, ["blockwise"]),
        ({"capability": (8, 0)}, ["torch_scaled_mm", "tensorwise", "blockwise"]),
        ({"engine_problem": "OSError: libcudnn.so.9"}, []),
    ],
)
def test_a_recipe_is_skipped_for_what_the_machine_lacks_alone(changes, skipped) -> None:
    """Whatever else is wrong, a broken Transformer Engine too, is a failure."""
    recipes = [Fp8Config(recipe="torch_scaled_mm", rule="delayed")]
    recipes += [Fp8Config(recipe="tensorwise"), Fp8Config(recipe="blockwise")]
    found = [each.recipe for each in recipes if why_not(each, replace(GPU, **changes))]
    assert found == skipped


BF16, FP8, *OTHERS = benchmark.names()
MEASURED = {"name": BF16, "status": "measured", "tokens_per_second": 5.0, "peer": {}}


@pytest.mark.parametrize(
    ("row", "status", "detail"),
    [
        ({"name": FP8, "status": "measured"}, "passed", ""),
        ({"name": FP8, "status": "skipped", "reason": "no FP8"}, "skipped", "no FP8"),
        ({"name": FP8, "status": "failed", "reason": "killed"}, "failed", "failed: killed"),
        (
            {"name": FP8, "status": "measured", "peer": {"reason": "killed"}},
            "failed",
            "no plain PyTorch: killed",
        ),
    ],
)
def test_a_row_that_was_lost_has_failed(tmp_path: Path, row: dict, status, detail: str) -> None:
    place = AnsweredPlace(tmp_path, GPU).ends_with(json.dumps({"rows": [MEASURED, row]}))
    first, second, *others = benchmark.section(place)
    assert first == Check(BF16, "passed", rows=(MEASURED,))
    assert (second.status, second.detail) == (status, detail)
    # Asked for by themselves, of which this answer says nothing.
    assert others == [Check(name, "failed", "the command has left it out") for name in OTHERS]


def test_rows_that_were_finished_count_where_the_time_was_over(tmp_path: Path) -> None:
    place = AnsweredPlace(tmp_path, GPU).ends_with(CommandError("not done", None), MEASURED)
    assert list(benchmark.section(place))[:2] == [
        Check(BF16, "passed", rows=(MEASURED,)),
        Check(FP8, "failed", "not done"),
    ]


@pytest.mark.parametrize(
    ("sides", "peer"), [(["ours"], {"reason": "not done"}), (["ours", "peer"], None)]
)
def test_a_side_that_was_measured_is_kept_where_the_time_was_over(
    tmp_path: Path, sides: list[str], peer: dict | None
) -> None:
    """The row has failed all the same, and the next one, of which nothing was measured, is none."""
    case, fp8, *_ = select_cases("470m", "4096", "bf16,torch_scaled_mm", ["step"])
    job = StepJob(
        model=case.shape, precision=case.number_formats, sequence=4096, sequences=4, steps=10,
        sides=("ours", "peer"), backend=case.backend, is_compiled=True, warmth=Warmth(),
    )  # fmt: skip
    figures = {"step_seconds": 0.5, "is_settled": True, "kernels": None}
    place = AnsweredPlace(tmp_path, GPU).ends_with(CommandError("not done", None))
    place.leaves = {
        "codemix-bench-1/first/job.json": job.as_dict(),
        "codemix-bench-1/first/result.json": dict.fromkeys(sides, figures),
    }
    first, second, *_ = benchmark.section(place)
    assert (first.name, first.status, first.detail) == (case.name, "failed", "not done")
    [row] = first.rows
    assert row["tokens_per_second"] == 4 * 4096 / 0.5
    assert row["peer_ratio"] == (None if peer else 1.0)
    assert peer is None or row["peer"] == peer
    assert second == Check(fp8.name, "failed", "not done")


def test_rows_for_which_the_time_is_not_enough_are_left_out(tmp_path: Path) -> None:
    place = AnsweredPlace(tmp_path, GPU, ends_at=time.monotonic())
    place.ends_with(json.dumps({"rows": [MEASURED, {**MEASURED, "name": FP8}]}))
    found = {check.name: check for check in benchmark.section(place)}
    assert list(found) == benchmark.names()
    assert found[BF16].status == found[FP8].status == "passed"
    for name in OTHERS:
        assert found[name].status == "skipped"
        assert "not begun: 0 s are left, and a row took 0 s" in found[name].detail


def test_losses_that_are_no_numbers_are_far_apart() -> None:
    assert largest_difference([1.0, float("nan")], [1.0, 2.0]) == float("inf")


def test_of_the_tests_each_file_has_a_line(tmp_path: Path) -> None:
    """None where a kill has cut its report."""
    report = tmp_path / "tests.xml"
    report.write_text(
        "<testsuites><testsuite>"
        '<testcase classname="tests.gpu.test_step" name="one"/>'
        '<testcase classname="tests.gpu.test_step" name="two"><failure message="far off"/>'
        '</testcase><testcase classname="tests.gpu.test_step" name="three">'
        '<skipped message="no FP8"/></testcase></testsuite></testsuites>'
    )
    assert gpu_tests.read_report("test_step", report) == Check(
        "test_step", "failed", "1 passed, 1 failed, 1 skipped; two: far off; three: no FP8"
    )
    report.write_text(report.read_text()[:200])
    assert gpu_tests.read_report("test_step", report) is None


def test_files_of_tests_that_had_ended_are_not_run_again(tmp_path: Path) -> None:
    """Where one is to be run, there is no time left."""
    first, *others = gpu_tests.names_of_files()
    for name in others:
        case = f'<testcase classname="tests.gpu.{name}" name="one"/>'
        (tmp_path / f"{name}.xml").write_text(f"<testsuites>{case}</testsuites>")
    *found, last = gpu_tests.section(Place(tmp_path, GPU, ends_at=0.0))
    assert found == [Check(name, "passed", "1 passed") for name in others]
    assert last.name == first
    assert (last.status, "not begun" in last.detail) == ("failed", True)


def test_every_file_of_tests_has_its_place_in_the_order() -> None:
    files = {path.stem for path in (ROOT / "tests" / "gpu").glob("test_*.py")}
    assert sorted(gpu_tests.ORDER) == sorted(files)
    assert gpu_tests.names_of_files() == list(gpu_tests.ORDER)


@pytest.mark.parametrize(("cores", "files"), [(1, 1), (2, 1), (8, 2), (16, 4), (128, 4)])
def test_files_of_tests_run_side_by_side_where_there_are_cores(cores: int, files: int) -> None:
    assert gpu_tests.files_at_once(cores) == files


def test_each_section_has_its_own_time_whatever_those_before_it_take() -> None:
    """All of it together is no more than there is; what some do not take, the next ones may."""
    left, names = TOTAL_SECONDS, list(SECTIONS)
    for number, name in enumerate(names):
        limit = limit_of(name, names[number + 1 :], left)
        assert SECTIONS[name].own_seconds <= limit <= SECTIONS[name].limit_seconds, name
        left -= limit
    assert left >= 0.0
    assert limit_of("benchmark", ["checkpoints", "fp8"], TOTAL_SECONDS) == 300.0
    assert limit_of("benchmark", ["checkpoints", "fp8"], 100.0) == 0.0


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
    results = Results(tmp_path / "check.json", MACHINE, "abc", "2026-11-23")
    name = "fp32: GPU beside CPU"
    results.add("losses", "losses", [Check(name, "passed", "all", 2e-5, 1e-4)], 1.0)
    row = {"name": "470m", "status": "measured", "tokens_per_second": 51234.5, "peer": {}}
    rows = [Check("470m", "passed", rows=(row,)), Check("1b", "failed", "killed")]
    results.add("benchmark", "rows", rows, 1.0)
    results.add("tests", "tests", [Check("test_step", "failed", "two: far off")], 1.0)
    page = put_into(f"a\n{BEGIN}\n{END}\nb\n", json.loads(results.path.read_text()))
    assert "NVIDIA H100, torch 2.13.0, commit `abc`, sources `def`, 2026-11-23." in page
    assert "| tests | test_step | failed: two: far off |  |  |" in page
    assert "\n1b: failed: killed.\n" in page
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
