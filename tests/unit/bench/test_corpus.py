"""The benchmark of the corpus on next to nothing: the figures mean nothing, rows and plants do."""

import json
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest

from megatron_codemix.bench.corpus.made_up import draw_texts, made_up_task
from megatron_codemix.bench.corpus.planted import edited_copy, with_other_spaces
from megatron_codemix.bench.corpus.setting import Setting, texts_of
from megatron_codemix.bench.corpus.stream import NUM_ITEMS, TASK_SEED, link_some, write_stream
from megatron_codemix.bench.corpus.suite import run_sections
from megatron_codemix.bench.corpus.synthesis import _speed
from megatron_codemix.bench.measure import Cost
from megatron_codemix.bench.rows import Row
from megatron_codemix.corpus.contamination.index import ItemIndex
from megatron_codemix.corpus.document import digest
from megatron_codemix.corpus.duplicates.run import no_progress
from megatron_codemix.corpus.synthesis.output import Synthesized
from megatron_codemix.errors import ConfigError
from megatron_codemix.ops import reference
from tests.helpers.commands import codemix, python
from tests.helpers.kills import ROOT, contents
from tests.helpers.planted import jaccard

MEGABYTE = 10**6


def write_corpus(folder: Path) -> Path:
    """Three sources of made-up texts."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for source in ("code", "markup", "text"):
        texts = draw_texts(rng, 60)
        lines = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)]
        (folder / f"{source}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def setting(folder: Path, **changes: object) -> Setting:
    fields: dict[str, object] = {
        "folder": folder,
        "repeats": 1,
        "is_quick": True,
        "stream_bytes": MEGABYTE,
        "synthesis_count": 1,
        "resume_bytes": MEGABYTE,
    }
    return Setting(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[str, Row]:
    pytest.importorskip("datatrove", reason="the peer is in the extra `curate`")
    folder = tmp_path_factory.mktemp("bench")
    work = folder / "work"
    work.mkdir()
    asked = setting(work, corpus=write_corpus(folder / "corpus"))
    found = list(run_sections(["filters", "duplicates", "recall", "reading"], asked))
    assert not list(work.iterdir()), "files are left behind"
    assert len({row.name for row in found}) == len(found)
    return {row.name.split(",")[0]: row for row in found}


def test_every_section_has_its_rows(rows) -> None:
    assert {
        "filters: code", "filters: markup", "filters: text", "filters: Gopher's two and C4's",
        "near-duplicates", "exact duplicates", "dedup", "decontaminate",
        "recall: exact duplicates", "recall: near-duplicates at Jaccard 0.8",
        "recall: items of 1 tasks", "reading and writing (split)",
        "precision: pairs at 0.8 among those found at 0.8 and 0.5",
        "precision: made-up documents without items that are dropped",
        "instructions from JSON lines",
    } == set(rows)  # fmt: skip


def test_a_quick_run_is_not_judged(rows) -> None:
    assert any(row.goal for row in rows.values())
    assert all(row.met is None for row in rows.values())


def test_speeds_are_rates_beside_the_peers(rows) -> None:
    for name in ("filters: Gopher's two and C4's", "near-duplicates"):
        assert rows[name].ours > 0
        assert rows[name].ratio == pytest.approx(rows[name].ours / rows[name].peer)


def test_what_is_planted_is_found(rows) -> None:
    assert rows["recall: exact duplicates"].ours == 1
    assert rows["recall: items of 1 tasks"].ours == 1
    assert rows["recall: near-duplicates at Jaccard 0.8"].ours > 0.9


@pytest.mark.parametrize("wanted", [0.5, 0.8])
def test_copies_are_as_alike_as_is_wanted(wanted: float) -> None:
    rng = Random(1)
    texts = draw_texts(np.random.default_rng(2), 20)
    pairs = [(text, copy) for text in texts if (copy := edited_copy(text, wanted, rng))]
    assert len(pairs) >= 10  # in short texts one word more is too much
    for pair in pairs:
        words = [reference.join_words(one).split() for one in pair]
        assert jaccard(*words) == pytest.approx(wanted, abs=0.011)


def test_copies_with_other_white_space_are_equal_once_normalised() -> None:
    rng = Random(1)
    for text in draw_texts(np.random.default_rng(2), 20):
        copy = with_other_spaces(text, rng)
        assert copy != text
        assert digest(copy) == digest(text)


def test_a_text_that_cannot_be_edited_so_is_left_alone() -> None:
    assert edited_copy("too short", 0.8, Random(1)) is None
    assert edited_copy("again " * 500, 0.8, Random(1)) is None


def test_made_up_texts_have_nothing_in_common() -> None:
    texts = [reference.join_words(text).split() for text in draw_texts(np.random.default_rng(3), 9)]
    assert max(jaccard(texts[0], other) for other in texts[1:]) < 0.01


def test_a_stream_is_the_same_each_time_and_holds_what_is_planted(tmp_path: Path) -> None:
    for name in ("one", "again"):
        assert write_stream(tmp_path / name, 3 * MEGABYTE, no_progress) >= 3 * MEGABYTE
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    texts = [one.text for one in texts_of(tmp_path / "one")["text"]]
    counts = Counter(map(digest, texts))
    copies = sum(count for count in counts.values() if count > 1) / len(texts)
    assert 0.02 < copies < 0.07
    index = ItemIndex([made_up_task(NUM_ITEMS, TASK_SEED)])
    assert sum(index.find(text) is not None for text in texts) == pytest.approx(
        len(texts) / 500, abs=8
    )


def test_a_tenth_of_a_stream_is_its_first_files(tmp_path: Path) -> None:
    write_stream(tmp_path / "whole", MEGABYTE, no_progress)
    assert link_some(tmp_path / "whole", tmp_path / "some", 0.1) == 1 / 8
    assert list(contents(tmp_path / "some")) == ["text/part-00000.jsonl.zst"]


@pytest.mark.parametrize(("count", "met"), [(2000, None), (100_000, True)])
def test_problems_an_hour_are_judged_only_where_so_many_were_made(count: int, met) -> None:
    made = Synthesized(
        folder=Path(),
        count=count,
        sha256="",
        families={"lists": count},
        sources={},
        distinct_statements=1.0,
        mutation_score=1.0,
        difficulty=0.5,
        candidates=count,
        rejected={},
        seconds=1.0,
        is_old=False,
    )
    by_processor, by_clock = _speed(made, Cost(user=count / 100, system=0.0, wall=count / 50))
    assert by_processor.ours == 2 * 3600 * 100
    assert by_clock.ours == 3600 * 50
    assert by_processor.met is met
    assert ("extrapolated" in by_processor.note) is (met is None)


ORPHANS = """
import os, subprocess, sys, time
from contextlib import nullcontext
from resource import RUSAGE_CHILDREN, getrusage
from megatron_codemix.bench.corpus.orphans import orphans_adopted

WORK = "import time\\nwhile time.process_time() < 0.5: pass\\nprint(1, flush=True)"

def spent():
    return sum(getrusage(RUSAGE_CHILDREN)[:2])

def seconds(context):
    before = spent()
    with context:
        if os.fork() == 0:  # ends without waiting for its child
            subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE).stdout.read(1)
            os._exit(0)
        os.wait()
    return spent() - before

print(seconds(nullcontext()), seconds(orphans_adopted()))
"""


def test_the_time_of_orphans_is_counted() -> None:
    finished = python("-c", ORPHANS, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr
    without, adopted = map(float, finished.stdout.split())
    assert without < 0.3 < adopted


def test_unknown_sections_sizes_and_checks_are_refused(tmp_path: Path) -> None:
    for arguments, message in (
        (["--sections", "filters,speed"], "no section 'speed'"),
        (["--stream-bytes", "10"], "too small to measure"),
        (["--quick", "--check"], "the goals are not for --quick"),
    ):
        refused = codemix("bench", "corpus", *arguments, "--folder", tmp_path)
        assert refused.returncode == 2
        assert message in " ".join(refused.stderr.split())


def test_a_section_that_does_not_exist_is_a_configuration_error() -> None:
    from megatron_codemix.bench.corpus.suite import require_sections

    with pytest.raises(ConfigError, match="resume"):
        require_sections(["nothing"])
