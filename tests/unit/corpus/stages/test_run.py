"""A stage over a corpus: the same bytes by any number of processes and tasks."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix import workers
from megatron_codemix.corpus.record import load_corpus
from megatron_codemix.corpus.split import split_of
from megatron_codemix.corpus.stages.parts import Share, parts_of
from megatron_codemix.corpus.stages.run import plan_parts
from megatron_codemix.corpus.stages.split_stage import SplitStage
from megatron_codemix.corpus.store import source_files
from megatron_codemix.errors import DataError
from tests.helpers.commands import codemix
from tests.helpers.kills import ROOT, contents
from tests.helpers.staged_corpus import (
    FRACTION,
    NUM_FILES,
    PART_BYTES,
    STAGE,
    ShortStage,
    read_lines,
    records,
    run,
    write_corpus,
)


def test_each_document_is_kept_or_dropped_and_counted(tmp_path: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    told: list[int] = []
    result = run(corpus, out, keep_dropped=True, advance=told.append)
    assert result.record is not None
    assert (result.num_parts, result.num_made, result.num_waiting) == (7, 7, 0)
    for source, count in NUM_FILES.items():
        num_dropped = 0
        for number in range(count):
            entries = records(source, number)
            name = f"{source}/part-{number:05d}.jsonl.zst"
            kept = [one for one in entries if split_of(one["origin"], FRACTION) == "train"]
            dropped = [one for one in entries if one not in kept]
            for path, expected in ((out / name, kept), (out / "dropped" / name, dropped)):
                found = read_lines(path)
                assert [one["id"] for one in found] == [one["id"] for one in expected]
                assert [one["text"] for one in found] == [one["text"] for one in expected]
                assert [one.get("metadata", {}) for one in found] == [
                    one["metadata"] for one in expected
                ]
            assert {one["reason"] for one in read_lines(out / "dropped" / name)} <= {"held out"}
            num_dropped += len(dropped)
        stage = result.record.stages[-1]
        assert stage.dropped[source].counts == {"held out": num_dropped}
        assert stage.num_read[source] == 12 * count
        assert 0 < num_dropped < 12 * count, "else the case tells little"
        assert result.record.sources[source].num_documents == 12 * count - num_dropped
    assert load_corpus(out) == result.record
    assert result.record.is_whole(out)
    every = [
        one for name, count in NUM_FILES.items() for n in range(count) for one in records(name, n)
    ]
    assert sum(told) == sum(len(one["text"].encode()) for one in every)


@pytest.mark.parametrize(
    ("num_workers", "keep_dropped", "is_forked"),
    [(2, False, True), (2, True, True), (5, False, True), (2, True, False)],
)
def test_workers_give_the_bytes_of_one_process(
    tmp_path: Path,
    num_workers: int,
    keep_dropped: bool,
    is_forked: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(workers, "_has_one_thread", lambda: is_forked)  # else they start anew
    corpus = write_corpus(tmp_path / "corpus")
    run(corpus, tmp_path / "one", keep_dropped=keep_dropped)
    run(corpus, tmp_path / "two", keep_dropped=keep_dropped, workers=num_workers)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.parametrize("count", [2, 3, 9])
def test_tasks_give_the_bytes_of_one_run(tmp_path: Path, count: int):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, tmp_path / "one")
    order = random.Random(count).sample(range(count), count)
    num_made = 0
    for position, number in enumerate(order):
        result = run(corpus, out, share=Share(number, count))
        num_made += result.num_made
        assert result.num_waiting == 7 - num_made
        assert (result.record is None) == (result.num_waiting > 0)
        if result.record is None:
            assert position < count - 1
            with pytest.raises(DataError, match="is not complete"):
                source_files(out)
    assert num_made == 7
    assert contents(out) == contents(tmp_path / "one")


def test_tasks_of_another_division_go_on(tmp_path: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, tmp_path / "one")
    assert run(corpus, out, share=Share(1, 3)).num_made == 2
    assert run(corpus, out).num_made == 5
    assert contents(out) == contents(tmp_path / "one")


def test_what_is_finished_is_not_made_again(tmp_path: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    first = run(corpus, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = run(corpus, out)
    assert (again.num_made, again.record) == (0, first.record)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_only_what_has_changed_is_made_again(tmp_path: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, out)
    path = corpus / "code" / "part-00001.jsonl"
    path.write_text(path.read_text().replace("MIT", "ISC"))
    assert run(corpus, out).num_made == 1
    path.write_text(path.read_text())  # another time, the same content
    assert run(corpus, out).num_made == 0
    (out / "text" / "part-00002.jsonl.zst").write_bytes(b"short")
    assert run(corpus, out).num_made == 1
    assert run(corpus, out, keep_dropped=True).num_made == 7
    assert run(corpus, out).num_made == 0
    run(corpus, tmp_path / "anew", keep_dropped=True)
    assert contents(out).keys() == contents(tmp_path / "anew").keys()
    assert contents(out)["corpus.json"] == contents(tmp_path / "anew")["corpus.json"]


def test_other_options_make_all_of_it_again(tmp_path: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, out)
    assert run(corpus, out, SplitStage("validation", FRACTION)).num_made == 7
    run(corpus, tmp_path / "anew", SplitStage("validation", FRACTION))
    assert contents(out) == contents(tmp_path / "anew")


def test_what_is_replaced_is_named_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    other_options = SplitStage("validation", FRACTION)
    run(corpus, out)
    (out / "text" / "part-00002.jsonl.zst").unlink()
    run(corpus, out)  # mended
    run(corpus, out, keep_dropped=True)  # the same documents
    path = corpus / "code" / "part-00001.jsonl"
    path.write_text(path.read_text())  # another time, the same content
    run(corpus, out, keep_dropped=True)
    assert caplog.messages == []

    parts = parts_of(source_files(corpus), PART_BYTES)
    plan_parts(other_options, parts, out)
    wanted = [f"{out}: was made from other input or options, would be replaced"]
    assert caplog.messages == wanted
    for change in (path.read_text().replace("MIT", "ISC"), None):
        caplog.clear()
        if change is not None:
            path.write_text(change)
        run(corpus, out, STAGE if change else other_options)
        assert caplog.messages == [f"{out}: was made from other input or options, is replaced"]


def test_what_the_input_has_no_more_goes(tmp_path: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, out, keep_dropped=True)
    (corpus / "code" / "part-00003.jsonl").unlink()
    for path in (corpus / "text").iterdir():
        path.unlink()
    result = run(corpus, out, keep_dropped=True)
    assert result.num_made == 0
    assert list(source_files(out)) == ["code"]
    run(corpus, tmp_path / "anew", keep_dropped=True)
    assert contents(out) == contents(tmp_path / "anew")


def test_a_source_that_is_there_is_not_lost(tmp_path: Path):
    """By any stage: all of these run as `run_stage` does."""
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, out, keep_dropped=True)
    before = contents(out)
    problem = "out: holds text too, which would be lost with --source code; name another folder"
    with pytest.raises(DataError, match=problem):
        run(corpus, out, sources=["code"], keep_dropped=True)
    shutil.copytree(corpus, tmp_path / "whole")
    shutil.rmtree(corpus / "text")
    with pytest.raises(DataError, match=problem):
        run(corpus, out, sources=["code"], keep_dropped=True)
    assert contents(out) == before
    run(tmp_path / "whole", tmp_path / "more", sources=["code"], keep_dropped=True)
    run(tmp_path / "whole", tmp_path / "more", sources=["code", "text"], keep_dropped=True)
    assert contents(tmp_path / "more") == before


@pytest.mark.parametrize(
    "command",
    [
        ("filter", "--policy", "code=none", "--policy", "text=none"),
        ("dedup", "--exact-only"),
        ("split",),
    ],
    ids=lambda command: command[0],
)
def test_the_commands_lose_no_source(tmp_path: Path, command: tuple[str, ...]):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    name, *options = command
    asked = ("corpus", name, corpus, "--out", out)
    assert codemix(*asked, *options).returncode == 0
    before = contents(out)
    alone = ("--source", "code", *options[:2])
    for extra in ((), ("--dry-run",)):
        refused = codemix(*asked, *alone, *extra)
        assert refused.returncode == 2
        assert "holds text too, which would be lost with --source code" in refused.stderr
    assert contents(out) == before


def test_stages_are_kept_in_order(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    run(corpus, tmp_path / "one", SplitStage("train", 0.2))
    run(tmp_path / "one", tmp_path / "two", SplitStage("train", 0.5))
    record = load_corpus(tmp_path / "two")
    assert record is not None
    fractions = [stage.options["validation_fraction"] for stage in record.stages]
    assert fractions == [0.2, 0.5]
    assert (
        record.stages[1].num_read["code"]
        == 48 - record.stages[0].dropped["code"].counts["held out"]
    )


def test_details_and_changes_are_told(tmp_path: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    result = run(corpus, out, ShortStage(), keep_dropped=True)
    assert result.record is not None
    stage = result.record.stages[-1]
    for source, entry in result.record.sources.items():
        assert stage.changed[source] == {"marked": entry.num_documents}
        assert stage.dropped[source].counts == {
            "long": stage.num_read[source] - entry.num_documents
        }
    for one in read_lines(out / "dropped" / "code" / "part-00000.jsonl.zst"):
        assert one["detail"] == f"{len(one['text'])} characters"
    for one in read_lines(out / "code" / "part-00000.jsonl.zst"):
        assert one["metadata"]["is_short"] is True


def test_what_cannot_be_read_is_counted(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    with open(corpus / "text" / "part-00000.jsonl", "ab") as lines:
        lines.write(b'{"text": "\xff"}\n{"text": " "}\n{"other": 1}\n')
    result = run(corpus, tmp_path / "out")
    assert result.record is not None
    stage = result.record.stages[-1]
    assert stage.dropped["text"].counts["not UTF-8"] == 1
    assert stage.dropped["text"].counts["empty"] == 2
    assert stage.num_read["text"] == 39


MEASURE = """
import sys
from pathlib import Path
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.stages.split_stage import SplitStage

run_stage(SplitStage("train", 0.1), Path(sys.argv[1]), Path(sys.argv[2]))
status = Path("/proc/self/status").read_text().split()
print(int(status[status.index("VmHWM:") + 1]) * 1024)
"""


def test_memory_does_not_grow_with_the_part(tmp_path: Path):
    peaks = []
    for count in (1, 20):
        corpus = tmp_path / f"corpus-{count}"
        corpus.mkdir()
        lines = "".join(json.dumps(one) + "\n" for one in records("text", 0, count=20_000))
        with open(corpus / "text.jsonl", "w", encoding="utf-8") as handle:
            for _ in range(count):
                handle.write(lines)
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(corpus), str(tmp_path / f"out-{count}")],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert (corpus / "text.jsonl").stat().st_size > 60_000_000
    assert peaks[1] < peaks[0] + (16 << 20)
    assert peaks[1] < 150 << 20


class TupleStage(ShortStage):
    """Has options that JSON gives back as something else."""

    def options(self) -> dict[str, Any]:
        return {"words": ("a", "b")}


def test_options_may_be_tuples(tmp_path: Path):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, out, TupleStage())
    before = (out / "corpus.json").stat().st_mtime_ns
    assert run(corpus, out, TupleStage()).num_made == 0
    assert (out / "corpus.json").stat().st_mtime_ns == before
