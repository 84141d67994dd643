"""The corpus as written: the same bytes by any way, whole or not there, right when read again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.record import load_corpus
from megatron_codemix.corpus.statistics.count import count_corpus
from megatron_codemix.corpus.statistics.source_counts import CountOptions
from megatron_codemix.corpus.statistics.summary import summarise
from megatron_codemix.corpus.store import source_files
from megatron_codemix.corpus.synthesis import synthesize as module
from megatron_codemix.corpus.synthesis.blocks import Order, make_block
from megatron_codemix.corpus.synthesis.blocks import read_documents as read_block
from megatron_codemix.corpus.synthesis.distinct import normalised_statement, skeleton
from megatron_codemix.corpus.synthesis.documents.parts import test_function as written_tests
from megatron_codemix.corpus.synthesis.documents.shapes import SHAPES, Exercise
from megatron_codemix.corpus.synthesis.problem import Solution
from megatron_codemix.corpus.synthesis.synthesize import NOT_NEEDED, synthesize
from megatron_codemix.corpus.synthesis.verification.batch import Test as ProblemTest
from megatron_codemix.corpus.synthesis.verification.inside.documents import recheck
from megatron_codemix.corpus.synthesis.verify import verify_corpus
from megatron_codemix.corpus.synthesis.writing.source import WIDTH
from megatron_codemix.corpus.writer import encoded, write_documents
from megatron_codemix.errors import DataError

COUNT = 36
SIZES = {"block_candidates": 18, "part_documents": 15}
"""Several blocks and several parts."""
COUNTED = CountOptions(num_samples=1, seed=1, validation_fraction=0.1, has_pieces=False)


pytestmark = pytest.mark.usefixtures("isolation")


def documents(folder: Path) -> list[Document]:
    return list(read_documents(source_files(folder)["synthetic"], "synthetic", Skipped()))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One corpus for the tests that only read."""
    out = tmp_path_factory.mktemp("made") / "out"
    synthesize(out, count=COUNT, seed=1, **SIZES)
    return out


def test_it_writes_as_many_as_wanted_in_parts_with_a_record(made: Path) -> None:
    record = load_corpus(made)
    assert record is not None
    files = record.sources["synthetic"].files
    assert [one.num_documents for one in files] == [15, 15, 6]
    assert record.is_whole(made)
    assert len(documents(made)) == COUNT
    assert {path.name for path in made.iterdir()} == {"corpus.json", "synthetic"}


def test_every_candidate_is_kept_or_left_out_for_a_reason(made: Path, tmp_path: Path) -> None:
    """In the record, in the result, and on the page; the last block is not used up."""
    for folder, count in ((made, COUNT), (tmp_path / "out", 20)):
        result = synthesize(folder, count=count, seed=1, **SIZES)
        assert result.candidates % SIZES["block_candidates"] == 0
        assert result.candidates == count + sum(result.rejected.values())
        assert result.rejected[NOT_NEEDED] > 0
        (stage,) = summarise(folder, count_corpus(folder, COUNTED))["stages"]
        figures = stage["sources"]["synthetic"]
        assert figures["kept"] == count
        assert figures["read"] == result.candidates
        assert figures["dropped"][NOT_NEEDED]["count"] == result.rejected[NOT_NEEDED]


def test_any_number_of_workers_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "out", count=COUNT, seed=1, workers=2, **SIZES)
    assert bytes_of(tmp_path / "out") == bytes_of(made)


def test_a_larger_count_begins_with_the_same_documents(made: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "out", count=20, seed=1, **SIZES)
    assert [one.id for one in documents(tmp_path / "out")] == [
        one.id for one in documents(made)[:20]
    ]


def test_another_seed_gives_others(made: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "out", count=20, seed=2, **SIZES)
    ids = {one.id for one in documents(tmp_path / "out")}
    assert not ids & {one.id for one in documents(made)}


def test_a_complete_corpus_is_left_alone(made: Path) -> None:
    before = bytes_of(made)
    result = synthesize(made, count=COUNT, seed=1, **SIZES)
    assert result.is_old
    assert result.count == COUNT
    assert bytes_of(made) == before


def test_another_corpus_in_the_folder_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another corpus"):
        synthesize(made, count=COUNT, seed=2, **SIZES)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        synthesize(tmp_path, count=5, seed=1, **SIZES)


def test_a_damaged_corpus_is_named(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name, data in bytes_of(made).items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(data[:-1] if name.endswith("00001.jsonl.zst") else data)
    with pytest.raises(DataError, match="damaged"):
        synthesize(out, count=COUNT, seed=1, **SIZES)


def test_no_two_are_nearly_the_same(made: Path) -> None:
    kept = documents(made)
    statements = {normalised_statement(one.metadata["statement"]) for one in kept}
    programs = {skeleton(one.metadata["solutions"][0]["source"]) for one in kept}
    assert len(statements) == len(programs) == COUNT


def test_only_the_families_asked_for(tmp_path: Path) -> None:
    result = synthesize(tmp_path / "out", count=12, seed=3, families=["lists", "graphs"], **SIZES)
    assert set(result.families) == {"lists", "graphs"}
    assert sum(result.families.values()) == 12


def test_what_a_family_cannot_give_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that always holds the same: all but its first documents are near-duplicates."""
    same = module.make_block

    def again(order: Order, number: int, verifier: object) -> object:
        return same(order, 0, verifier)  # type: ignore[arg-type]  # the real one is given

    monkeypatch.setattr(module, "make_block", again)
    with pytest.raises(DataError, match=r"lists: \d+ distinct problems"):
        synthesize(tmp_path / "out", count=25, seed=1, families=["lists"], **SIZES)


def test_a_block_is_a_function_of_seed_and_number(made: Path) -> None:
    from megatron_codemix.corpus.synthesis.verification.batch import Verifier

    record = load_corpus(made)
    assert record is not None
    order = Order(1, tuple(record.stages[0].options["families"]), SIZES["block_candidates"])
    with Verifier() as verifier:
        second = make_block(order, 1, verifier)
        first = make_block(order, 0, verifier)
    texts = [one.document.text for one in (*first.kept, *second.kept)]
    assert texts[:20] == [one.text for one in documents(made)[:20]]


KILLED = f"""
import sys
from pathlib import Path
from megatron_codemix.corpus.synthesis.synthesize import synthesize
synthesize(Path(sys.argv[1]), count={COUNT}, seed=1, workers=int(sys.argv[2]), **{SIZES})
"""


@pytest.mark.parametrize(("num_blocks", "workers"), [(1, 1), (2, 2)])
def test_a_kill_and_the_same_command_again_give_the_same_bytes(
    made: Path, tmp_path: Path, num_blocks: int, workers: int
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(out), str(workers)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[4], start_new_session=True)
    try:
        while process.poll() is None and len(list(out.rglob("blocks-*/*.zst"))) < num_blocks:
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (out / "corpus.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in out.rglob("blocks-*/*.zst")}
    assert len(finished) >= num_blocks
    read = list(read_block(next(iter(sorted(finished)))))
    assert read
    synthesize(out, count=COUNT, seed=1, **SIZES)
    assert bytes_of(out) == bytes_of(made)


def test_a_written_corpus_is_verified_from_its_files_alone(made: Path) -> None:
    found = verify_corpus(made)
    assert (found.documents, found.failed, found.first_failures) == (COUNT, 0, [])
    assert found.distinct_statements == 1.0
    assert found.tests >= 3 * COUNT


@pytest.mark.parametrize("what", ["solution", "test", "text"])
def test_what_was_tampered_with_is_found(made: Path, tmp_path: Path, what: str) -> None:
    kept = documents(made)[:10]
    changed = kept[3]
    metadata = json.loads(json.dumps(dict(changed.metadata)))
    text = changed.text
    if what == "solution":
        source = metadata["solutions"][1]["source"]
        metadata["solutions"][1]["source"] = source.replace("return", "return 7 if 1 else", 1)
    elif what == "test":
        metadata["tests"][0]["expected"] = "'another'"
    else:
        text = text.replace("return", "return 7 if 1 else").replace(":\n", ":\n", 1)
    kept[3] = Document(
        changed.id, changed.source, changed.path, changed.origin, changed.licence, text, metadata
    )
    write_documents(tmp_path, "synthetic.jsonl.zst", kept)
    found = verify_corpus(tmp_path)
    if what == "text" and metadata["shape"] == "question" and not found.failed:
        pytest.skip("the changed line is shown by no example of this document")
    assert found.failed == 1
    assert changed.id in found.first_failures[0]


def test_a_corpus_of_others_is_no_synthetic_one(tmp_path: Path) -> None:
    plain = Document("a", "code", "a", "a", None, "x = 1")
    write_documents(tmp_path, "code.jsonl.zst", [plain])
    with pytest.raises(DataError, match="none of the sources synthetic, "):
        verify_corpus(tmp_path)
    write_documents(tmp_path, "synthetic.jsonl.zst", [plain])
    with pytest.raises(DataError, match="metadata"):
        verify_corpus(tmp_path)


def exercise() -> Exercise:
    loop = (
        "def add_even(values: list[int]) -> int:\n    total = 0\n    for value in values:\n"
        "        if value % 2 == 0:\n            total += value\n    return total\n"
    )
    short = (
        "def add_even(values: list[int]) -> int:\n"
        "    return sum(value for value in values if value % 2 == 0)\n"
    )
    tests = [("[]", "0"), ("[1, 2, 3, 4]", "6"), ("[5]", "0"), ("[-2, 7, 8]", "6"), ("[2]", "2")]
    return Exercise(
        name="add_even",
        summary="The sum of the even values.",
        statement="Write `add_even(values)`.\n\n1. Keep what is even.\n2. Return the sum.",
        solutions=(Solution("comprehension", short), Solution("loop", loop)),
        tests=[ProblemTest(*one) for one in tests],
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_each_shape_shows_statement_and_code_and_runs_as_it_stands(shape) -> None:  # type: ignore[no-untyped-def]
    one = exercise()
    for seed in range(12):
        text = shape.write(one, Random(seed))
        assert "Keep what is even" in text
        assert "def add_even(" in text
        assert text == text.rstrip() + "\n"
        assert "\n\n\n\n" not in text
        job = {
            "name": "add_even",
            "solutions": [solution.source for solution in one.solutions],
            "cases": "[lambda: (([2],), 2)]",
            "num_cases": 1,
            "text": text,
        }
        assert recheck(job) == {"error": None}
        broken = text.replace("% 2 == 0", "% 2 == 1").replace("if not value % 2", "if value % 2")
        assert recheck({**job, "text": broken})["error"] is not None, text


def test_records_hold_what_the_contract_says(made: Path) -> None:
    for one in documents(made):
        metadata = one.metadata
        assert set(metadata) == {
            "family", "method", "language", "shape", "name", "spec", "statement", "solutions",
            "tests", "difficulty", "mutation",
        }  # fmt: skip
        assert 0 <= metadata["difficulty"] < 1
        assert 0.5 <= metadata["mutation"]["score"] <= 1
        assert one.id == one.origin
        assert len(metadata["solutions"]) >= 2
        assert encoded(one.to_record())


def test_long_assertions_fit_the_width_inside_a_function() -> None:
    for length in range(60, 100):
        test = ProblemTest(", ".join(["17"] * (length // 4)), "[" + ", ".join(["3"] * 9) + "]")
        for line in written_tests("count_something", [test], "count_something").split("\n"):
            assert len(line) <= WIDTH
