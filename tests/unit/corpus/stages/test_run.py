"""A stage over a corpus: the same bytes by any number of processes and tasks, after any kill."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from megatron_codemix import workers
from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.split import split_of
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.parts import Part, Share, parts_of
from megatron_codemix.corpus.stages.run import CorpusResult, plan_parts, run_stage
from megatron_codemix.corpus.stages.split_stage import SplitStage
from megatron_codemix.corpus.stages.stage import Stage, read_part
from megatron_codemix.corpus.store import load_corpus, source_files
from megatron_codemix.errors import DataError, RunError, UnavailableError
from megatron_codemix.locks import exclusive_share
from tests.helpers.commands import codemix, start_codemix
from tests.helpers.kills import ROOT, contents, killed_again_and_again

FRACTION = 0.3
PART_BYTES = 1  # a file is a part
NUM_FILES = {"code": 4, "text": 3}
STAGE = SplitStage("train", FRACTION)


def records(source: str, number: int, count: int = 12) -> list[dict[str, Any]]:
    numbers = random.Random(f"{source} {number}")
    return [
        {
            "id": f"{source}/{number}/{row}",
            "origin": f"origin {numbers.randrange(40)}",
            "text": "caf\u00e9 \U0001f600 " * numbers.randrange(1, 9) + str(row),
            "licence": numbers.choice(["MIT", None]),
            "metadata": {"stars": row} if row % 2 else {},
        }
        for row in range(count)
    ]


def write_corpus(folder: Path) -> Path:
    for source, count in NUM_FILES.items():
        (folder / source).mkdir(parents=True)
        for number in range(count):
            lines = "".join(json.dumps(record) + "\n" for record in records(source, number))
            (folder / source / f"part-{number:05d}.jsonl").write_text(lines)
    return folder


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read with nothing of ours."""
    with open(path, "rb") as raw:
        data = zstandard.ZstdDecompressor().stream_reader(raw).read()
    return [json.loads(line) for line in data.splitlines()]


def run(corpus: Path, out: Path, stage: Stage = STAGE, **options: Any) -> CorpusResult:
    return run_stage(stage, corpus, out, **{"part_bytes": PART_BYTES, **options})


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


# Kills.

SPLIT = """
from pathlib import Path
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.stages.split_stage import SplitStage

def run(corpus, out, fraction):
    run_stage(SplitStage("train", float(fraction)), Path(corpus), Path(out), part_bytes=1,
              keep_dropped=True)
"""


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_kills_at_random_points_change_no_byte(tmp_path: Path, seed: int):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, tmp_path / "undisturbed", keep_dropped=True)
    points = random.Random(seed).choices(range(1, 80), k=8)
    assert killed_again_and_again(SPLIT, (corpus, out, FRACTION), out, points) >= 2
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_a_kill_at_the_very_end_changes_no_byte(tmp_path: Path):
    """Each of the last steps: records of parts, strays, corpus.json."""
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    run(corpus, tmp_path / "undisturbed", keep_dropped=True)
    for point in range(8, 40, 2):
        run(corpus, out, keep_dropped=True)
        (out / "corpus.json").unlink()
        (out / ".parts" / "text" / "00002.json").unlink()
        killed_again_and_again(SPLIT, (corpus, out, FRACTION), out, [point])
        assert contents(out) == contents(tmp_path / "undisturbed")


def test_a_command_with_workers_goes_on_whatever_ends_it(tmp_path: Path):
    corpus = tmp_path / "corpus"
    for source in range(40):  # a part each; far more than end while a signal is on its way
        lines = [json.dumps(one) + "\n" for one in records(f"s{source}", 0, count=1500)]
        (corpus / f"s{source}").mkdir(parents=True)
        (corpus / f"s{source}" / "a.jsonl").write_text("".join(lines))

    def command(out: str) -> list[str]:
        asked = ["corpus", "split", str(corpus), "--out", str(tmp_path / out)]
        return [*asked, "--validation-fraction", str(FRACTION), "--workers", "2"]

    undisturbed = codemix(*command("undisturbed"))
    assert undisturbed.returncode == 0, undisturbed.stderr
    out = tmp_path / "out" / "train"
    for num_finished, by in ((1, signal.SIGKILL), (4, signal.SIGINT), (9, signal.SIGTERM)):
        process = start_codemix(command("out"))
        deadline = time.monotonic() + 120
        while len(list((out / ".parts").glob("*/*.json"))) < num_finished:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(by)
        told, _ = process.communicate(timeout=60)
        assert process.returncode == (130 if by == signal.SIGINT else -by), told
        assert "Traceback" not in told
    assert not (out / "corpus.json").exists()
    finished = codemix(*command("out"))
    assert finished.returncode == 0, finished.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


# What is refused.


def test_the_same_share_is_not_made_twice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("megatron_codemix.corpus.stages.run._WAIT_SECONDS", 0.0)
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    with exclusive_share(out / ".parts", "stage", "split of a corpus", 0, 2):
        for share in (Share(0, 1), Share(0, 2)):
            with pytest.raises(RunError, match="split of a corpus is already running here"):
                run(corpus, out, share=share)
        run(corpus, out, share=Share(1, 2))
    run(corpus, out, share=Share(0, 2))
    run(corpus, tmp_path / "one")
    assert contents(out) == contents(tmp_path / "one")


def test_a_place_that_holds_something_else_is_refused(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    for out in (corpus, corpus / "split", tmp_path):
        with pytest.raises(DataError, match="is not apart from the corpus"):
            run(corpus, out)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("")
    with pytest.raises(DataError, match="holds something that no stage of a corpus has made"):
        run(corpus, tmp_path / "used")
    run(corpus, tmp_path / "out")
    with pytest.raises(DataError, match="holds what `codemix corpus split` has made"):
        run(corpus, tmp_path / "out", ShortStage())
    with pytest.raises(DataError, match="has no source 'prose'; it has code, text"):
        run(corpus, tmp_path / "new", sources=["prose"])
    assert not (tmp_path / "new").exists()


class ShortStage(Stage):
    """Drops what is long; fails on what is damaged."""

    name = "short"

    def options(self) -> dict[str, Any]:
        return {}

    def documents(self, part: Part, dropped: Dropped) -> Iterator[Document]:
        for document in read_part(part, dropped):
            if len(document.text) < 20:
                dropped.change("marked")
                yield document.with_metadata(is_short=True)
            else:
                dropped.drop(document, "long", f"{len(document.text)} characters")


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_damaged_file_stops_and_the_others_stay(tmp_path: Path, num_workers: int):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    path = corpus / "text" / "part-00002.jsonl"
    whole = path.read_text()
    path.write_text(whole + "{")
    with pytest.raises(DataError, match=r"part-00002\.jsonl: line 13 is not JSON"):
        run(corpus, out, ShortStage(), workers=num_workers)
    path.write_text(whole)
    # With another worker, the part that it was at was not finished either.
    assert 1 <= run(corpus, out, ShortStage(), workers=num_workers).num_made <= num_workers
    run(corpus, tmp_path / "one", ShortStage())
    assert contents(out) == contents(tmp_path / "one")


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


def test_too_little_disk_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    corpus = write_corpus(tmp_path / "corpus")
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 100}))
    with pytest.raises(UnavailableError, match="split of a corpus needs about"):
        run(corpus, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.zst"))


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


def test_a_source_cannot_be_named_as_the_folder_of_what_is_left_out(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "dropped.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match="source 'dropped': is the folder of what is left out"):
        run(tmp_path / "corpus", tmp_path / "out")
