"""A corpus without its duplicates: what is written, reported, and written again after any kill."""

import json
import random
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.duplicates.run import dedup_corpus
from megatron_codemix.corpus.duplicates.search import SearchOptions
from megatron_codemix.corpus.duplicates.stage import DedupStage
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.record import load_corpus
from megatron_codemix.corpus.split import split_position
from megatron_codemix.corpus.store import source_files
from megatron_codemix.errors import DataError, RunError, UnavailableError
from megatron_codemix.locks import exclusive
from tests.helpers.commands import codemix
from tests.helpers.kills import contents, killed_again_and_again
from tests.helpers.planted import document, random_words, with_jaccard

pytest.importorskip("datatrove")

PART_BYTES = 1  # a file is a part
OPTIONS = SearchOptions()


def planted_corpus() -> dict[str, list[list[Document]]]:
    """Three parts of code and two of text; with an exact copy (x), a near copy (n) or neither."""
    rng = Random(0)
    parts: dict[str, list[list[Document]]] = {"code": [[], [], []], "text": [[], []]}
    places = [(source, number) for source, group in parts.items() for number in range(len(group))]
    for number in range(60):
        words = random_words(rng, 150)
        first, second = rng.sample(places, 2)
        copies = {"x": [words, words], "n": [words, with_jaccard(words, 0.9, rng)], "": [words]}
        kind = ("x", "n", "")[number % 3]
        for copy, (source, part), text in zip("ab", (first, second), copies[kind], strict=False):
            separator = " " if copy == "a" else "\n"
            parts[source][part].append(
                document(separator.join(text), f"{number}{kind}{copy}", source)
            )
    return parts


def write_corpus(folder: Path) -> Path:
    for source, parts in planted_corpus().items():
        (folder / source).mkdir(parents=True)
        for number, documents in enumerate(parts):
            lines = [json.dumps(one.to_record()) + "\n" for one in documents]
            (folder / source / f"part-{number:05d}.jsonl").write_text("".join(lines))
    return folder


def names(folder: Path) -> set[str]:
    """Of the documents in a corpus."""
    return {
        one.path
        for source, files in source_files(folder).items()
        for one in read_documents(files, source, Skipped())
    }


def dedup(corpus: Path, out: Path, options: SearchOptions = OPTIONS, **more: Any) -> Any:
    return dedup_corpus(corpus, out, options, part_bytes=PART_BYTES, **more)


def test_one_of_each_stays_and_the_others_are_counted_and_kept_apart(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    made = dedup(corpus, out, keep_dropped=True)
    origins = {
        one.path: one.origin
        for parts in planted_corpus().values()
        for documents in parts
        for one in documents
    }
    pairs = [(f"{name[:-1]}a", name) for name in origins if name.endswith(("xb", "nb"))]
    expected = {min(pair, key=lambda name: split_position(origins[name])) for pair in pairs}
    expected |= {name for name in origins if name[-2].isdigit()}
    assert names(out) == expected
    record = load_corpus(out)
    assert record is not None
    assert record.is_whole(out)
    counts = [skipped.counts for skipped in record.stages[-1].dropped.values()]
    assert sum(one.get("exact duplicate", 0) for one in counts) == 20
    assert sum(one.get("near-duplicate", 0) for one in counts) == 20
    dropped = [
        json.loads(line) for path in sorted(out.glob("dropped/*/*")) for line in _lines_of(path)
    ]
    assert {one["path"] for one in dropped} == set(origins) - expected
    for one in dropped:
        stays = f"{one['path'][:-1]}{'b' if one['path'].endswith('a') else 'a'}"
        assert f"/{stays}" in one["detail"]
        assert ("similarity" in one["detail"]) == (one["reason"] == "near-duplicate")
    assert made.corpus.record is not None


def _lines_of(path: Path) -> list[bytes]:
    import zstandard

    with open(path, "rb") as raw:
        return list(zstandard.ZstdDecompressor().stream_reader(raw).read().splitlines())


def test_the_report_counts_pairs_of_sources_and_shows_texts(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    report = dedup(corpus, out).report
    assert report == json.loads((out / "duplicates.json").read_text())
    assert report["cluster_sizes"] == {"2": 20}
    for kind in ("exact duplicate", "near-duplicate"):
        pairs = report["pairs"][kind]
        assert sum(count for row in pairs.values() for count in row.values()) == 20
        shown = [one for one in report["examples"] if one["kind"] == kind]
        assert len(shown) == sum(min(3, count) for row in pairs.values() for count in row.values())
    texts = {
        one.id: one.text
        for parts in planted_corpus().values()
        for documents in parts
        for one in documents
    }
    for one in report["examples"]:
        for side in ("dropped", "kept"):
            assert one[side]["text"] == texts[one[side]["id"]][:2000]
        assert (one["similarity"] == 1) == (one["kind"] == "exact duplicate")


def test_workers_change_no_byte(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    dedup(corpus, tmp_path / "one", keep_dropped=True)
    dedup(corpus, tmp_path / "three", keep_dropped=True, workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


DEDUP = """
from pathlib import Path
from megatron_codemix.corpus.duplicates.run import dedup_corpus
from megatron_codemix.corpus.duplicates.search import SearchOptions
import datatrove.pipeline.dedup.minhash

def run(corpus, out):
    dedup_corpus(Path(corpus), Path(out), SearchOptions(), part_bytes=1, keep_dropped=True)
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_at_random_points_change_no_byte(tmp_path: Path, seed: int) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    dedup(corpus, tmp_path / "undisturbed", keep_dropped=True)
    points = random.Random(seed).choices(range(1, 400), k=9)
    assert killed_again_and_again(DEDUP, (corpus, out), out, points) >= 5
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_what_is_complete_is_not_made_again(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    first = dedup(corpus, out)
    again = dedup(corpus, out)
    assert (first.corpus.num_made, again.corpus.num_made) == (5, 0)
    assert again.report == first.report


@pytest.mark.parametrize("part", range(5))
def test_a_part_that_is_lost_is_made_again(tmp_path: Path, part: int) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    dedup(corpus, out)
    before = contents(out)
    sorted(out.glob("[ct]*/part-*"))[part].unlink()
    assert dedup(corpus, out).corpus.num_made == 1
    assert contents(out) == before


def test_other_options_and_other_input_make_it_anew(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    dedup(corpus, out)
    exact = dedup(corpus, out, SearchOptions(jaccard=None))
    assert exact.corpus.num_made == 5
    assert len(names(out)) == 80
    with open(corpus / "text" / "part-00001.jsonl", "a") as handle:
        handle.write(json.dumps({"id": "new", "text": "one more"}) + "\n")
    # What goes in one part depends on all of them.
    assert dedup(corpus, out, SearchOptions(jaccard=None)).corpus.num_made == 5


def test_unreadable_records_keep_their_places(tmp_path: Path) -> None:
    """Documents are counted as they are read: both passes pass over the same."""
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    dedup(corpus, out)
    for path in corpus.glob("*/*"):
        path.write_bytes(b'{"text": "\xff"}\n{"text": ""}\n' + path.read_bytes())
    dedup(corpus, tmp_path / "with_them")
    assert names(tmp_path / "with_them") == names(out)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    with (
        exclusive(out / ".parts" / "dedup.lock", "another"),
        pytest.raises(RunError, match="already running"),
    ):
        dedup(corpus, out)


def test_a_source_to_keep_first_must_be_there(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    with pytest.raises(DataError, match="no source wiki to keep first; there are code, text"):
        dedup(corpus, tmp_path / "out", SearchOptions(keep_first=("wiki",)))


def test_without_datatrove_exact_duplicates_are_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datatrove.pipeline.dedup", None)
    corpus = write_corpus(tmp_path / "corpus")
    with pytest.raises(UnavailableError, match="near-duplicates need datatrove"):
        dedup(corpus, tmp_path / "near")
    dedup(corpus, tmp_path / "exact", SearchOptions(jaccard=None))
    assert len(names(tmp_path / "exact")) == 80


def test_the_command(tmp_path: Path) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    plan = codemix("corpus", "dedup", corpus, "--out", out, "--dry-run", "--json")
    assert json.loads(plan.stdout)["options"]["num_bands"] == 22
    assert not out.exists()
    made = codemix("corpus", "dedup", corpus, "--out", out, "--json")
    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout)
    assert result["is_complete"]
    assert result["duplicates"]["cluster_sizes"] == {"2": 20}
    shown = codemix("corpus", "dedup", corpus, "--out", out)
    assert "exact duplicate in" in shown.stdout
    assert "complete already" in shown.stdout
    refused = codemix("corpus", "dedup", corpus, "--out", tmp_path / "no", "--jaccard", "1")
    assert refused.returncode == 2
    assert "from 0.03 to 0.99" in refused.stderr


def write_files_and_commits(folder: Path, num_twice: int) -> Path:
    """Ten files, of which `num_twice` are in a commit each that has added them, and ten others."""
    rng = Random(1)
    entries: dict[str, list[Document]] = {"adjacent": [], "code": []}
    for number in range(10):
        lines = [" ".join(random_words(rng, 6)) for _ in range(40)]
        entries["code"].append(document("\n".join(lines), f"c{number}", "code"))
        if number >= num_twice:
            lines = [" ".join(random_words(rng, 6)) for _ in range(40)]
        added = "".join(f"+{line}\n" for line in lines)
        text = f"Add\n\ndiff --git a/{number}.py b/{number}.py\nnew file mode 100644\n{added}"
        entries["adjacent"].append(document(text, f"a{number}", "adjacent"))
    folder.mkdir()
    for source, documents in entries.items():
        records = [one.to_record() | {"origin": "one clone"} for one in documents]
        lines = [json.dumps(record) + "\n" for record in records]
        (folder / f"{source}.jsonl").write_text("".join(lines))
    return folder


@pytest.mark.parametrize(("num_twice", "is_told"), [(6, True), (5, False)])
def test_a_source_that_loses_most_to_another_is_told(
    tmp_path: Path, num_twice: int, is_told: bool
) -> None:
    """A commit that adds a file has its text."""
    corpus = write_files_and_commits(tmp_path / "corpus", num_twice)
    asked = ("corpus", "dedup", corpus, "--out")
    made = codemix(*asked, tmp_path / "out", "--json")
    lost = {"source": "code", "num_lost": 6, "num_read": 10, "kept": {"adjacent": 6}}
    assert json.loads(made.stdout)["great_losses"] == ([lost] if is_told else [])
    said = (
        "code has lost 6 of its 10 documents to other sources (6 for adjacent): --keep-first code "
        "leaves out theirs instead, --within compares documents of one source only"
    )
    assert (said in made.stderr) == is_told
    assert (said in codemix(*asked, tmp_path / "out").stderr) == is_told, "complete already"
    within = codemix(*asked, tmp_path / "within", "--within", "--json")
    assert json.loads(within.stdout)["sources"]["code"]["num_documents"] == 10
    assert "has lost" not in within.stderr
    first = codemix(*asked, tmp_path / "first", "--keep-first", "code", "--json")
    sources = json.loads(first.stdout)["sources"]
    assert sources["code"]["num_documents"] == 10
    assert sources["adjacent"]["num_documents"] == 10 - num_twice


def test_a_kill_while_leftovers_are_removed_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    dedup(corpus, tmp_path / "undisturbed")

    def killed(stage: DedupStage) -> None:
        for folder in stage.work.parent.glob(".duplicates-*"):
            shutil.rmtree(folder / "exact")
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DedupStage, "remove_leftovers", killed)
        with pytest.raises(KeyboardInterrupt):
            dedup(corpus, out)
    assert list(out.glob(".parts/.duplicates-*"))
    assert dedup(corpus, out).corpus.num_made == 0
    assert contents(out) == contents(tmp_path / "undisturbed")
