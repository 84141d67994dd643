"""Each row of `codemix bench train --gpu` has processes of its own, and is kept when it is done.

The processes here are programs that write what a measurement would, or end as one may.
"""

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.bench.train.gpu.cases import select_cases
from megatron_codemix.bench.train.gpu.job import StepJob, read_job
from megatron_codemix.bench.train.gpu.machine import Machine
from megatron_codemix.bench.train.gpu.processes import Ended, measure_in_process
from megatron_codemix.bench.train.gpu.results import Results
from megatron_codemix.bench.train.gpu.suite import Settings, measured_rows
from megatron_codemix.errors import RunError
from megatron_codemix.units import format_bytes

MACHINE = Machine(
    card="NVIDIA H100 80GB HBM3",
    driver="550.54.15",
    capability=(9, 0),
    memory_bytes=84_934_000_000,
    torch="2.9.0",
    built_with="12.9",
    megatron_core="0.16.1",
    engine=None,
    engine_problem=None,
    commit="abc",
    sources="def",
)
WRITE = """
import json, os, sys
folder = sys.argv[1]
job = json.load(open(folder + "/job.json"))
figures = {
    "step_seconds": 0.5, "alone_step_seconds": 0.5, "is_settled": True, "peak_memory_bytes": 1,
    "kernels": None,
}
def write(found):
    json.dump(found, open(folder + "/result.json", "w"))
def both():
    write({side: figures for side in job["sides"]} | {"by_turns": len(job["sides"]) == 2})
"""
DIE = "os.kill(os.getpid(), 9)"


def program(end: str) -> partial[Ended]:
    """A measurement whose process writes and ends so."""
    return partial(measure_in_process, command=[sys.executable, "-S", "-c", f"{WRITE}\n{end}"])


def rows_of(
    folder: Path,
    measure: Any,
    *,
    models: str = "470m",
    precisions: str = "bf16",
    machine: Machine = MACHINE,
) -> tuple[list[dict], list[str]]:
    """Rows at sequence 2048, and the names of those that were measured now."""
    begun: list[str] = []
    results = Results(folder / "results.jsonl", {**machine.as_dict(), "steps": 4})
    rows = measured_rows(
        select_cases(models, "2048", precisions, None),
        machine,
        results,
        Settings(steps=4),
        folder,
        begins=begun.append,
        measure=measure,
    )
    return list(rows), begun


def test_a_finished_row_is_not_measured_again(tmp_path: Path) -> None:
    both = program("both()")
    first, begun = rows_of(tmp_path, both)
    assert begun == ["470m, 2048, bf16"]
    assert (first[0]["status"], first[0]["peer_ratio"], first[0]["peer_turns"]) == (
        "measured", 1.0, "by turns",
    )  # fmt: skip
    more, begun = rows_of(tmp_path, both, precisions="bf16,torch_scaled_mm,tensorwise")
    assert begun == ["470m, 2048, torch_scaled_mm"]
    assert more[0] == first[0]
    assert more[1]["bf16_ratio"] == 1.0
    assert more[2]["status"] == "skipped"
    assert "Transformer Engine's, which is not installed" in more[2]["reason"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.jsonl"]


def test_the_bf16_row_of_an_earlier_run_serves_fp8(tmp_path: Path) -> None:
    rows_of(tmp_path, program("both()"))
    [row], _ = rows_of(tmp_path, program("both()"), precisions="torch_scaled_mm")
    assert row["bf16_ratio"] == 1.0


def test_rows_of_other_sources_do_not_count_and_are_told_of(tmp_path: Path) -> None:
    """Whatever the commit: sources may be changed, or be alike in two commits."""
    rows_of(tmp_path, program("both()"))
    alike = Machine(**{**vars(MACHINE), "commit": "abc+changes"})
    assert rows_of(tmp_path, program("both()"), machine=alike)[1] == []
    other = Machine(**{**vars(MACHINE), "sources": "xyz", "torch": "2.10.0"})
    results = Results(tmp_path / "results.jsonl", {**other.as_dict(), "steps": 4})
    assert "1 row is of another sources, torch and does not count" in (results.word() or "")
    _, begun = rows_of(tmp_path, program("both()"), machine=other)
    assert begun == ["470m, 2048, bf16"]
    assert Results(tmp_path / "results.jsonl", {**other.as_dict(), "steps": 4}).word() is None
    assert "number of steps" in (
        Results(tmp_path / "results.jsonl", {**MACHINE.as_dict(), "steps": 5}).word() or ""
    )


def test_a_line_that_a_kill_has_cut_is_left_out_for_good(tmp_path: Path) -> None:
    rows_of(tmp_path, program("both()"))
    path = tmp_path / "results.jsonl"
    path.write_text(path.read_text() + '{"row": {"na')
    rows_of(tmp_path, program("both()"), precisions="torch_scaled_mm")
    assert [json.loads(line)["row"]["precision"] for line in path.read_text().splitlines()] == [
        "bf16",
        "torch_scaled_mm",
    ]
    path.write_text('{"row": 1}\n')
    with pytest.raises(RunError, match=r"results.jsonl:1: damaged \(no row with what"):
        rows_of(tmp_path, program("both()"))


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (DIE, "its process was killed by SIGKILL"),
        (
            "print('Traceback', file=sys.stderr); sys.exit('ValueError: no')",
            "exit code 1: ValueError: no",
        ),
    ],
)
def test_a_crash_loses_one_row_which_the_next_run_tries_again(
    tmp_path: Path, end: str, said: str
) -> None:
    crashes = program(f"{end} if job['precision']['kind'] == 'bf16' else both()")
    rows, _ = rows_of(tmp_path, crashes, precisions="bf16,torch_scaled_mm")
    assert [row["status"] for row in rows] == ["failed", "measured"]
    assert said in rows[0]["reason"]
    assert rows[1]["bf16_ratio"] is None
    _, begun = rows_of(tmp_path, program("both()"), precisions="bf16,torch_scaled_mm")
    assert begun == ["470m, 2048, bf16"]


def test_out_of_memory_is_told_with_the_planner_s_number_and_kept(tmp_path: Path) -> None:
    for begun_now in (["470m, 2048, bf16"], []):
        [row], begun = rows_of(tmp_path, out_of_memory(taken_before=2**29))
        assert begun == begun_now
        assert row["status"] == "failed"
        assert row["reason"].startswith("ran out of memory (CUDA out of memory.); the planner's ")
        planned = format_bytes(row["planned_memory_bytes"])
        assert f"{planned}, and the card has 79.1 GiB, of which 512.0 MiB were" in row["reason"]


def out_of_memory(taken_before: int) -> partial[Ended]:
    found = {"side": "ours", "said": "CUDA out of memory.", "taken_before_bytes": taken_before}
    return program(f"write({ ({'out_of_memory': found})!r})")


def test_memory_that_others_have_taken_may_be_free_another_time(tmp_path: Path) -> None:
    rows_of(tmp_path, out_of_memory(taken_before=60 * 2**30))
    [row], begun = rows_of(tmp_path, program("both()"))
    assert (row["status"], begun) == ("measured", ["470m, 2048, bf16"])


@pytest.mark.parametrize("place", ["/proc/rows.jsonl", "/proc/new/rows.jsonl"])
def test_what_rows_cannot_be_written_to_is_refused_before_any_is_measured(place: str) -> None:
    with pytest.raises(OSError, match="/proc/"):
        Results(Path(place), MACHINE.as_dict())


def test_a_relative_folder_is_made_where_it_is_meant(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows_of(Path("new"), program("os.chdir('/'); both()"))
    assert [path.name for path in Path("new").iterdir()] == ["results.jsonl"]


def test_what_does_not_fit_by_the_planner_is_not_tried(tmp_path: Path) -> None:
    small = Machine(**{**vars(MACHINE), "memory_bytes": 40 * 2**30})
    [row], begun = rows_of(tmp_path, program(DIE), models="2.8b", machine=small)
    assert begun == []
    assert row["reason"].startswith("does not fit: the planner's estimate is ")
    assert row["planned_memory_bytes"] > row["memory_bytes"] == 40 * 2**30


def test_a_peer_that_dies_beside_ours_is_measured_by_itself(tmp_path: Path) -> None:
    ours_alone = 'write({"ours": figures}); ' + DIE
    measure = program(f"if len(job['sides']) == 2: {ours_alone}\nboth()")
    [row], _ = rows_of(tmp_path, measure)
    assert (row["peer_ratio"], row["peer_turns"]) == (1.0, "one after the other")
    assert rows_of(tmp_path, measure)[1] == []


def test_a_peer_that_dies_twice_leaves_ours_and_a_reason(tmp_path: Path) -> None:
    measure = program(f"if 'ours' in job['sides']: write({{'ours': figures}})\n{DIE}")
    [row], _ = rows_of(tmp_path, measure)
    assert row["status"] == "measured"
    assert row["peer"] == {"reason": "its process was killed by SIGKILL"}
    assert row["peer_ratio"] is None
    assert rows_of(tmp_path, measure)[1] == [row["name"]]


def test_models_that_do_not_fit_twice_are_measured_one_after_the_other(tmp_path: Path) -> None:
    jobs: list[StepJob] = []

    def seen(job: Mapping[str, Any], folder: Path) -> Ended:
        found = read_job(dict(job))
        assert isinstance(found, StepJob)
        jobs.append(found)
        return program("both()")(job, folder)

    [row], _ = rows_of(tmp_path, seen, models="2.8b")
    assert [job.sides for job in jobs] == [("ours",), ("peer",)]
    assert [job.sequences for job in jobs] == [4, 4]
    assert row["peer_turns"] == "one after the other"


def test_a_process_that_does_not_end_is_ended(tmp_path: Path) -> None:
    slow = program("write({'ours': 1}); import time; time.sleep(60)")
    ended = slow({"sides": []}, tmp_path / "job", limit_seconds=0.5)
    assert ended == Ended({"ours": 1}, "its process had not ended after 0.5s")


@pytest.mark.parametrize(
    ("name", "set_by_user", "new_name"),
    [("PYTORCH_CUDA_ALLOC_CONF", "a:b", None), ("TERM", "dumb", "expandable_segments:True")],
)
def test_memory_grows_in_segments_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch, name: str, set_by_user: str, new_name: str | None
) -> None:
    for setting in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
        monkeypatch.delenv(setting, raising=False)
    monkeypatch.setenv(name, set_by_user)
    told = program("write(dict(os.environ))")({"sides": []}, tmp_path / "job")
    assert told.result[name] == set_by_user
    assert told.result.get("PYTORCH_ALLOC_CONF") == new_name


def test_a_variant_is_asked_for_and_stands_beside_the_default(tmp_path: Path) -> None:
    """Without the peer, and not where it cannot be."""
    cases = select_cases("470m", "4096", "bf16,torch_scaled_mm-delayed", None, "default,graphs")
    assert [case.name for case in cases] == [
        "470m, 4096, bf16",
        "470m, 4096, bf16, graphs",
        "470m, 4096, torch_scaled_mm-delayed",
        "470m, 4096, torch_scaled_mm-delayed, graphs",
        "loop: 470m, 4096, bf16",
        "loop: 470m, 4096, bf16, graphs",
    ]
    asked: list[dict[str, Any]] = []

    def measure(job: Mapping[str, Any], folder: Path) -> Ended:
        asked.append(dict(job))
        if job["kind"] == "loop":
            loop = {"loop_seconds": 1.0, "bare_seconds": 1.0}
            return Ended({**loop, "data_wait_seconds": 0.0, "most_data_wait_seconds": 0.0}, None)
        seconds = 0.4 if job["backend"]["cuda_graphs"] != "none" else 0.5
        figures = {
            "step_seconds": seconds,
            "alone_step_seconds": seconds,
            "is_settled": True,
            "kernels": None,
        }
        return Ended(dict.fromkeys(job["sides"], figures), None)

    rows = measured_rows(
        cases,
        MACHINE,
        Results(tmp_path / "results.jsonl", MACHINE.as_dict()),
        Settings(steps=4, has_peer=False),
        tmp_path,
        begins=lambda name: None,
        measure=measure,
    )
    found = {row["name"]: row for row in rows}
    graphs = found["470m, 4096, bf16, graphs"]
    assert graphs["default_ratio"] == pytest.approx(1.25)
    assert graphs["goals"] == []
    assert "peer" not in found["470m, 4096, bf16"]
    assert found["470m, 4096, torch_scaled_mm-delayed, graphs"]["status"] == "skipped"
    assert found["loop: 470m, 4096, bf16, graphs"]["goals"] != []
    assert [job.get("sides") for job in asked] == [["ours"], ["ours"], ["ours"], None, None]
    assert [job["backend"]["device"] for job in asked] == ["cuda"] * 5
