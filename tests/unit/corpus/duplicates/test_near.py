"""Near-duplicates: planted ones are found, others left alone, and one of each cluster stays."""

import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.duplicates import bucket_files
from megatron_codemix.corpus.duplicates import fingerprints as fingerprints_module
from megatron_codemix.corpus.duplicates.bands import Bands, bands_for
from megatron_codemix.corpus.duplicates.bucket_files import bucket_file, write_bucket_files
from megatron_codemix.corpus.duplicates.jobs import SEED
from megatron_codemix.corpus.duplicates.report import EXACT, gone_of_part
from megatron_codemix.corpus.duplicates.search import (
    Found,
    SearchedPart,
    SearchOptions,
    find_duplicates,
)
from megatron_codemix.corpus.split import split_position
from megatron_codemix.errors import DataError
from megatron_codemix.ops import MinHash, draw_minhash_functions
from tests.helpers.datatrove_steps import signature_step
from tests.helpers.kills import ROOT
from tests.helpers.planted import document, jaccard, random_words, with_jaccard, with_other_end

pytest.importorskip("datatrove")


DEFAULTS = SearchOptions()


def search(parts: list[list[Document]], folder: Path, options: SearchOptions = DEFAULTS) -> Found:
    return find_duplicates(
        [
            SearchedPart(number, documents[0].source, lambda _, documents=documents: documents)
            for number, documents in enumerate(parts)
        ],
        options,
        folder,
    )


def dropped(parts: list[list[Document]], found: Found) -> dict[str, str]:
    """Names of near-duplicates that go -> of those that stay for them."""
    return {
        parts[number][drop["document"]].path: parts[drop["kept_part"]][drop["kept_document"]].path
        for number in range(len(parts))
        for block in found.near.of_part(number)
        for drop in block
    }


def planted(count: int, wanted: float, seed: int) -> list[list[Document]]:
    """Two parts: documents, and as many edited copies under the names of their originals."""
    rng = Random(seed)
    originals, copies = [], []
    for number in range(count):
        words = random_words(rng, rng.randrange(200, 500))
        edit = with_jaccard if number % 2 else with_other_end
        copy = edit(words, wanted, rng)
        assert abs(jaccard(words, copy) - wanted) < 0.02
        originals.append(document(" ".join(words), f"{number}", "one"))
        copies.append(document(" ".join(copy), f"{number}", "two", origin=f"copy{number}"))
    return [originals, copies]


def test_planted_near_duplicates_are_found_and_others_are_not(tmp_path: Path) -> None:
    """Of pairs at 0.8 at least 95%, and all that is found is planted."""
    parts = planted(400, 0.8, seed=1)
    gone = dropped(parts, search(parts, tmp_path))
    assert len(gone) >= 0.95 * 400
    assert all(name == stays for name, stays in gone.items())


def test_pairs_that_are_half_alike_stay(tmp_path: Path) -> None:
    parts = planted(200, 0.5, seed=2)
    assert dropped(parts, search(parts, tmp_path)) == {}


def test_similarities_are_estimated(tmp_path: Path) -> None:
    parts = planted(100, 0.85, seed=3)
    found = search(parts, tmp_path)
    estimates = np.concatenate(
        [block["similarity"] for number in range(2) for block in found.near.of_part(number)]
    )
    assert len(estimates) > 90
    assert estimates.mean() == pytest.approx(0.85, abs=0.02)


def test_of_a_cluster_the_document_stays_that_is_held_out_first(tmp_path: Path) -> None:
    rng = Random(4)
    words = random_words(rng, 300)
    copies = [
        document(" ".join(with_jaccard(words, 0.9, rng)), f"copy{number}") for number in range(9)
    ]
    parts = [copies[:5], copies[5:]]
    found = search(parts, tmp_path)
    first = min(copies, key=lambda one: split_position(one.origin))
    gone = dropped(parts, found)
    assert set(gone.values()) == {first.path}
    assert set(gone) == {one.path for one in copies} - {first.path}
    assert found.cluster_sizes.tolist() == [9]


def test_a_source_that_is_kept_first_keeps_its_near_duplicates(tmp_path: Path) -> None:
    parts = planted(30, 0.9, seed=5)
    gone = dropped(parts, search(parts, tmp_path, SearchOptions(keep_first=("two",))))
    assert len(gone) == 30
    found = search(parts, tmp_path, SearchOptions(keep_first=("two",)))
    assert list(found.near.of_part(1)) == []


def test_within_a_source_near_duplicates_of_other_sources_stay(tmp_path: Path) -> None:
    parts = planted(20, 0.9, seed=6)
    twice = [document(f"{one.text} end", f"again{one.path}", "one") for one in parts[0]]
    found = search([parts[0] + twice, parts[1]], tmp_path, SearchOptions(within=True))
    gone = [block["document"] for block in found.near.of_part(0)]
    assert len(np.concatenate(gone)) == 20
    assert list(found.near.of_part(1)) == []


def test_exact_duplicates_are_not_compared_again(tmp_path: Path) -> None:
    words = random_words(Random(7), 100)
    same = [document(" ".join(words), f"{number}") for number in range(3)]
    found = search([same], tmp_path)
    assert len(next(found.exact.of_part(0))) == 2
    assert list(found.near.of_part(0)) == []


@pytest.mark.parametrize("wanted", [0.03, 0.05, 0.06, 0.3, 0.8, 0.99])
def test_documents_without_an_equal_hash_are_never_alike(wanted: float) -> None:
    bands = bands_for(wanted)
    assert 0 < 1 / bands.num_hashes <= bands.accepted_from(wanted) < wanted


def test_strangers_in_a_cluster_stay_at_a_low_similarity(tmp_path: Path) -> None:
    """Chains of three: the ends have half of the middle each, and nothing of each other."""
    rng = Random(12)
    texts: dict[str, list[str]] = {}
    for number in range(12):
        head, tail = random_words(rng, 100), random_words(rng, 100)
        texts |= {f"{number}a": head, f"{number}b": [*head, *tail], f"{number}c": tail}
    parts = [[document(" ".join(words), name) for name, words in texts.items()]]
    gone = dropped(parts, search(parts, tmp_path, SearchOptions(jaccard=0.05)))
    assert len(gone) >= 12
    assert all(jaccard(texts[name], texts[stays]) > 0.3 for name, stays in gone.items())


def test_an_exact_duplicate_goes_for_a_document_that_stays(tmp_path: Path) -> None:
    """Also where its equal goes as a near-duplicate."""
    rng = Random(13)
    first, second = [], []
    for number in range(20):
        words = random_words(rng, 200)
        edited = " ".join(with_jaccard(words, 0.9, rng))
        first += [
            document(" ".join(words), f"{number}", "one"),
            document(edited, f"{number}", "one"),
        ]
        second += [document(edited.replace(" ", "\n"), f"{number}", "two", origin=f"far{number}")]
    parts = [first, second]
    found = search(parts, tmp_path)
    all_gone = [gone for part in range(2) for gone in gone_of_part(found, part)]
    places = {(gone.part, gone.document) for gone in all_gone}
    assert len(all_gone) == len(places) == 40
    assert not places & {(gone.kept_part, gone.kept_document) for gone in all_gone}
    num_led_on = 0
    for gone in all_gone:
        one, stays = (parts[part][number].text.split() for part, number in (gone[1:3], gone[3:5]))
        true = jaccard(one, stays)
        assert gone.similarity == pytest.approx(true, abs=0.1)
        num_led_on += gone.kind == EXACT and true < 1
    assert 5 < num_led_on < 20


def test_texts_too_short_for_a_shingle_are_no_near_duplicates(tmp_path: Path) -> None:
    short = [document(f"a b c {number}", f"{number}") for number in range(5)]
    assert dropped([short], search([short], tmp_path)) == {}


def test_the_order_of_parts_and_their_chunks_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = planted(60, 0.85, seed=8)
    whole = dropped(parts, search(parts, tmp_path / "whole"))
    for module in (fingerprints_module, bucket_files):
        monkeypatch.setattr(module, "CHUNK_DOCUMENTS", 7)
    assert dropped(parts, search(parts, tmp_path / "chunks")) == whole


def test_a_run_with_strangers_in_it_is_taken_apart(tmp_path: Path) -> None:
    """Documents that all share one half: a band puts all in one run, their ends tell them apart."""
    rng = Random(9)
    common = random_words(rng, 200)
    documents = []
    for number in range(12):
        end = random_words(rng, 130)
        documents += [
            document(" ".join(common + end), f"{number}a"),
            document(" ".join(common + with_jaccard(end, 0.9, rng)), f"{number}b"),
        ]
    texts = {one.path: one.text.split() for one in documents}
    gone = dropped([documents], search([documents], tmp_path))
    assert len(gone) == 12
    assert all(name[:-1] == stays[:-1] for name, stays in gone.items())
    strangers = [pair for pair in combinations(texts, 2) if pair[0][:-1] != pair[1][:-1]]
    assert max(jaccard(texts[one], texts[other]) for one, other in strangers) < 0.6


def test_bucket_files_are_datatroves(tmp_path: Path) -> None:
    """Byte for byte those of its own signature step."""
    rng = Random(10)
    documents = [document(" ".join(random_words(rng, 30)), str(n)) for n in range(300)]
    documents += [document("too short", "short"), *documents[:50]]
    bands = Bands(6, 3)
    signature_step(str(tmp_path / "theirs"), 6, 3, SEED).run(documents, 7, 8)
    minhash = MinHash(draw_minhash_functions(bands.num_hashes, SEED))
    signatures, num_shingles = minhash.sign_texts([one.text for one in documents], 5)
    rows = np.flatnonzero(num_shingles)
    write_bucket_files(tmp_path / "ours", 7, signatures[rows], rows, bands)
    for band in range(6):
        ours = bucket_file(tmp_path / "ours", band, 7).read_bytes()
        assert ours == bucket_file(tmp_path / "theirs", band, 7).read_bytes()


@pytest.mark.parametrize("jaccard", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
def test_bands_find_what_they_are_chosen_for(jaccard: float) -> None:
    bands = bands_for(jaccard)
    assert bands.num_hashes <= 160
    assert bands.probability(jaccard) >= 0.99
    steeper = Bands(160 // (bands.rows + 1), bands.rows + 1)
    assert steeper.probability(jaccard) < 0.99


@pytest.mark.parametrize("jaccard", [0.0, 1.0, -1.0, 0.01])
def test_similarities_without_bands_are_refused(jaccard: float) -> None:
    with pytest.raises(DataError, match="near-duplicates from similarity"):
        bands_for(jaccard)


def test_a_search_that_was_stopped_goes_on(tmp_path: Path) -> None:
    parts = planted(40, 0.85, seed=11)
    whole = dropped(parts, search(parts, tmp_path / "whole"))

    class StoppedError(Exception):
        pass

    def until(count: int) -> object:
        done = iter(range(count))

        def run(step: str, job: object, tasks: list[object]) -> None:
            for task in tasks:
                if next(done, None) is None:
                    raise StoppedError
                job.run(task, lambda _: None)

        return run

    searched = [
        SearchedPart(number, documents[0].source, lambda _, documents=documents: documents)
        for number, documents in enumerate(parts)
    ]
    for count in (0, 1, 3, 5, 20):
        with pytest.raises(StoppedError):
            find_duplicates(searched, SearchOptions(), tmp_path / "stopped", until(count))
    found = find_duplicates(searched, SearchOptions(), tmp_path / "stopped")
    assert dropped(parts, found) == whole


_WITH_A_LIMIT = """
import resource, sys
from pathlib import Path
from random import Random
from megatron_codemix.corpus.duplicates.search import SearchedPart, SearchOptions, find_duplicates
from megatron_codemix.errors import UnavailableError
from tests.helpers.planted import document, random_words

resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[2])))
rng = Random(1)
words = [random_words(rng, 60) for _ in range(45)]
texts = [" ".join(one) for one in words] + [" ".join(one + ["end"]) for one in words]
parts = [
    SearchedPart(number, "code", lambda _, text=text: [document(text, "a")])
    for number, text in enumerate(texts)
]
try:
    found = find_duplicates(parts, SearchOptions(), Path(sys.argv[1]))
    print(sum(len(block) for part in range(90) for block in found.near.of_part(part)))
except UnavailableError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("hard", "told"),
    [
        (1000, "45"),
        (64, r"in 90 pieces need \d+ files open at once, and this process may open 64;"),
    ],
)
def test_more_parts_than_files_may_be_open(tmp_path: Path, hard: int, told: str) -> None:
    run = [sys.executable, "-c", _WITH_A_LIMIT, str(tmp_path), str(hard)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert re.match(told, done.stdout.removeprefix("near-duplicates "))
