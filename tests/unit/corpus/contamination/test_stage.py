"""A corpus without evaluation items: what goes, what is reported, the same after any kill."""

import json
import random
from pathlib import Path
from random import Random
from typing import Any

import pytest

from megatron_codemix.corpus.contamination.items import EvaluationTask, Item
from megatron_codemix.corpus.contamination.stage import DecontaminateStage, Removal
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.record import load_corpus
from megatron_codemix.corpus.stages.parts import ALL, Share, parts_of
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.store import source_files
from megatron_codemix.errors import DataError, RunError
from megatron_codemix.locks import exclusive
from tests.helpers.commands import codemix
from tests.helpers.kills import contents, killed_again_and_again
from tests.helpers.planted import document, random_words

PART_BYTES = 1  # a file is a part
RNG = Random(0)
TASKS = [
    EvaluationTask(
        name,
        tuple(
            Item(f"{name}/{number}", (" ".join(random_words(RNG, 30)), f"answer {number}"))
            for number in range(10)
        ),
    )
    for name in ("quiz", "riddles")
]


def write_corpus(folder: Path) -> Path:
    """Each tenth document of each part holds an item of quiz, in part or as a whole."""
    rng = Random(1)
    for source, number in (("code", 0), ("code", 1), ("text", 0), ("text", 1), ("text", 2)):
        lines = []
        for row in range(40):
            words = random_words(rng, 300)
            if row % 10 == 0:
                item = TASKS[0].items[row // 10].texts[0].split()
                words[150:150] = item if row else item[:20]
            one = document(" ".join(words), f"{source}{number}-{row}", source)
            lines.append(json.dumps(one.to_record()) + "\n")
        (folder / source).mkdir(parents=True, exist_ok=True)
        (folder / source / f"part-{number:05d}.jsonl").write_text("".join(lines))
    return folder


def decontaminate(
    corpus: Path, out: Path, *, removal: Removal = "drop", share: Share = ALL, **more: Any
) -> Any:
    """The report, once all shares are made."""
    stage = DecontaminateStage(TASKS, removal, out)
    made = run_stage(stage, corpus, out, part_bytes=PART_BYTES, share=share, **more)
    if made.record is None:
        return None
    return stage.finish(parts_of(source_files(corpus), PART_BYTES))


def texts(folder: Path) -> dict[str, str]:
    """Of the documents, by name."""
    return {
        one.path: one.text
        for source, files in source_files(folder).items()
        for one in read_documents(files, source, Skipped())
    }


def test_documents_that_hold_items_go(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    decontaminate(corpus, out, keep_dropped=True)
    before, after = texts(corpus), texts(out)
    gone = {name for name in before if name.endswith(("-0", "-10", "-20", "-30"))}
    assert set(before) - set(after) == gone
    assert all(after[name] == before[name] for name in after)
    record = load_corpus(out)
    assert record is not None
    counts = {name: one.counts for name, one in record.stages[-1].dropped.items()}
    assert counts == {
        "code": {"holds evaluation items": 8},
        "text": {"holds evaluation items": 12},
    }


def test_the_report_counts_items_documents_and_shares(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    quiz, riddles = decontaminate(corpus, out)
    assert json.loads((out / "contamination.json").read_text()) == [quiz, riddles]
    assert (quiz["items"], quiz["items_found"], quiz["documents_hit"]) == (10, 4, 20)
    assert quiz["found"] == {f"quiz/{number}": 5 for number in range(4)}
    assert quiz["items_mostly_found"] == 3
    assert quiz["mean_share_of_found_items"] == pytest.approx((1 + 1 + 1 + 20 / 30) / 4, abs=1e-4)
    assert (riddles["items_found"], riddles["documents_hit"]) == (0, 0)
    assert len(quiz["examples"]) == 5
    for one in quiz["examples"]:
        item = one["item_text"].partition("\n")[0]
        assert " ".join(item.split()[: one["words_found"]]) in one["document_text"]
        assert one["words"] == 30
    shown = (out / "contamination.txt").read_text()
    left = "quiz quiz/1: 30 of 30 words"
    assert f"{left:58s} | code: code/code0-10" in shown
    assert max(map(len, shown.splitlines()[5:])) <= 2 * 58 + 3


def test_items_are_cut_out(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    report = decontaminate(corpus, out, removal="cut")
    before, after = texts(corpus), texts(out)
    assert set(before) == set(after)
    for name, text in after.items():
        if not name.endswith(("-10", "-20", "-30")):
            continue
        item = TASKS[0].items[int(name.rpartition("-")[2]) // 10].texts[0]
        begin = before[name].index(item)
        first, second = text.split("\n\n")
        assert first == before[name][: begin - 200].strip()
        assert second == before[name][begin + len(item) + 200 :].strip()
    record = load_corpus(out)
    assert record is not None
    assert record.stages[-1].changed["code"] == {"evaluation items cut out": 8}
    assert report[0]["documents_hit"] == 20


def test_workers_and_shares_change_no_byte(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    whole = decontaminate(corpus, tmp_path / "one")
    assert decontaminate(corpus, tmp_path / "two", workers=2) == whole
    assert decontaminate(corpus, tmp_path / "shares", share=Share(1, 2)) is None
    assert decontaminate(corpus, tmp_path / "shares", share=Share(0, 2)) == whole
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "shares")


def test_of_tasks_that_end_at_once_one_writes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each removes files that are half written, be they those of another."""
    monkeypatch.setattr("megatron_codemix.corpus.stages.run._RECORD_SECONDS", 0.0)
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    whole = decontaminate(corpus, out)
    stage, parts = (
        DecontaminateStage(TASKS, "drop", out),
        parts_of(source_files(corpus), PART_BYTES),
    )
    half = out / ".contamination.json.elsewhere.1.tmp"
    half.write_text("[")
    with (
        exclusive(out / ".parts" / ".record.lock", "a task that ends"),
        pytest.raises(RunError, match="another task is already running"),
    ):
        stage.finish(parts)
    assert half.exists()
    assert stage.finish(parts) == whole
    assert not half.exists()


DECONTAMINATE = """
import importlib.util
from pathlib import Path
from megatron_codemix.corpus.contamination.stage import DecontaminateStage

spec = importlib.util.spec_from_file_location("test_stage", {path!r})
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)

def run(corpus, out):
    cases.decontaminate(Path(corpus), Path(out), keep_dropped=True)
"""


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kills_at_random_points_change_no_byte(tmp_path: Path, seed: int) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    decontaminate(corpus, tmp_path / "undisturbed", keep_dropped=True)
    work = DECONTAMINATE.format(path=__file__)
    points = random.Random(seed).choices(range(1, 90), k=8)
    assert killed_again_and_again(work, (corpus, out), out, points) >= 2
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_other_items_make_it_anew(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    decontaminate(corpus, out)
    stage = DecontaminateStage(TASKS[1:], "drop", out)
    made = run_stage(stage, corpus, out, part_bytes=PART_BYTES)
    assert made.num_made == 5
    assert len(texts(out)) == 200


def test_no_items_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no items of evaluations to look for"):
        DecontaminateStage([EvaluationTask("quiz", ())], "drop", tmp_path)


def test_the_command(tmp_path: Path) -> None:
    corpus, data, out = write_corpus(tmp_path / "corpus"), tmp_path / "data", tmp_path / "out"
    data.mkdir()
    records = [
        {"question": item.texts[0], "answer": ["yes"], "number": number}
        for number, item in enumerate(TASKS[0].items)
    ]
    (data / "nq_open.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    asked = ["corpus", "decontaminate", corpus, "--out", out, "--data-dir", data]
    plan = codemix(*asked, "--dry-run", "--json")
    assert json.loads(plan.stdout)["options"]["tasks"] == {"nq_open": 10}
    made = codemix(*asked, "--json")
    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout)
    assert [one["items_found"] for one in result["contamination"]] == [4]
    assert "mbpp" in result["tasks_without_data"]
    again = codemix(*asked)
    assert "complete already" in again.stdout
    assert "nq_open" in again.stdout
    refused = codemix(*asked[:-1], tmp_path / "none")
    assert refused.returncode == 2
    unknown = codemix(*asked, "--tasks", "nq_opne")
    assert unknown.returncode == 2
    assert "did you mean nq_open" in unknown.stderr
