"""Counts of a corpus against a naive recount of the same records."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.corpus.document import Document, JsonValue, normalise
from megatron_codemix.corpus.filters.policy import load_policy
from megatron_codemix.corpus.filters.stage import FilterStage
from megatron_codemix.corpus.split import split_of
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.statistics.count import count_corpus
from megatron_codemix.corpus.statistics.languages import languages_of
from megatron_codemix.corpus.statistics.lengths import Lengths
from megatron_codemix.corpus.statistics.lowest import Lowest
from megatron_codemix.corpus.statistics.repeats import Repeats
from megatron_codemix.corpus.statistics.source_counts import CountOptions
from megatron_codemix.corpus.statistics.summary import PERCENTILES, summarise
from megatron_codemix.corpus.statistics.tally import MAX_NAMES, Tally
from megatron_codemix.errors import DataError

OPTIONS = CountOptions(num_samples=4, seed=7, validation_fraction=0.2, has_pieces=True)
SUFFIXES = {".py": "python", ".go": "go", ".md": "markdown", ".nothing": None}


def drawn_records(source: str, number: int, seed: int) -> list[dict[str, JsonValue]]:
    """Texts of 1 to some 30,000 bytes, one in five a copy but for white space."""
    rng = random.Random(seed)
    records: list[dict[str, JsonValue]] = []
    for place in range(number):
        suffix = rng.choice(list(SUFFIXES))
        words = [
            rng.choice(["sum", "\u00e9t\u00e9", "loop", "x"]) for _ in range(2 ** rng.randrange(13))
        ]
        text = " ".join([f"{source}{place}", *words])
        if records and rng.random() < 0.2:
            text = records[rng.randrange(len(records))]["text"].replace(" ", " \n ")
        name = f"{source}/{place}{suffix}"
        record = {"id": name, "origin": name, "path": name, "text": text}
        records.append(record | ({"licence": "MIT"} if rng.random() < 0.7 else {}))
    return records


def write_records(path: Path, records: list[dict[str, JsonValue]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def two_sources(folder: Path) -> dict[str, list[dict[str, JsonValue]]]:
    """`code` in three parts, `text` in a file."""
    records = {"code": drawn_records("code", 150, 1), "text": drawn_records("text", 90, 2)}
    records["text"][3]["text"] = records["code"][5]["text"]
    records["text"][4]["text"] = records["code"][5]["text"]
    for part in range(3):
        write_records(folder / "code" / f"part-{part:05d}.jsonl", records["code"][part::3])
    write_records(folder / "text.jsonl", records["text"])
    return records


def extra_copies(texts: list[str]) -> int:
    return len(texts) - len(set(map(normalise, texts)))


def test_counts_are_those_of_a_naive_recount(tmp_path: Path) -> None:
    records = two_sources(tmp_path)
    found = summarise(tmp_path, count_corpus(tmp_path, OPTIONS))
    for source, own in records.items():
        lengths = [len(record["text"].encode()) for record in own]
        one = found["sources"][source]
        assert (one["documents"], one["bytes"]) == (len(own), sum(lengths))
        assert one["licences"] == dict(
            Counter(record.get("licence", "unknown") for record in own).most_common()
        )
        suffixes = Counter(SUFFIXES["." + record["path"].split(".")[1]] for record in own)
        assert one["languages"]["programming"] == {
            name or "unknown": count for name, count in suffixes.items()
        }
        held_in = [r for r in own if split_of(r["origin"], 0.2) == "train"]
        assert one["train_documents"] == len(held_in)
        assert one["train_bytes"] == sum(len(record["text"].encode()) for record in held_in)
        exact = np.quantile(lengths, [p / 100 for p in PERCENTILES], method="inverted_cdf")
        for percent, value in zip(PERCENTILES, exact, strict=True):
            assert value * (1 - 2**-10) <= one["lengths"]["percentiles"][str(percent)] <= value
        for bin_ in one["lengths"]["histogram"]:
            inside = sum(bin_["from"] - 0.1 < n < bin_["below"] - 0.1 for n in lengths)
            assert bin_["documents"] == inside, bin_
        texts = [record["text"] for record in own]
        within = found["duplicates"]["still_there"]["within"][source]
        assert within == {"documents": extra_copies(texts), "error": 0}
    every = [record["text"] for own in records.values() for record in own]
    still_there = found["duplicates"]["still_there"]
    assert still_there["in_all"] == {"documents": extra_copies(every), "error": 0}
    shared = {normalise(r["text"]) for r in records["code"]} & {
        normalise(r["text"]) for r in records["text"]
    }
    assert still_there["texts_shared"] == {"code": {"text": {"documents": len(shared), "error": 0}}}


def test_workers_and_the_order_of_documents_change_no_sample(tmp_path: Path) -> None:
    records = two_sources(tmp_path / "one")
    write_records(tmp_path / "other" / "code.jsonl", records["code"][::-1])
    write_records(tmp_path / "other" / "text.jsonl", records["text"][::-1])
    one = summarise(tmp_path / "one", count_corpus(tmp_path / "one", OPTIONS))
    workers = summarise(tmp_path / "one", count_corpus(tmp_path / "one", OPTIONS, workers=2))
    assert workers == one
    other = summarise(tmp_path / "other", count_corpus(tmp_path / "other", OPTIONS))
    for source in records:
        samples = one["sources"][source]["samples"]
        assert len(samples) == OPTIONS.num_samples
        assert samples == other["sources"][source]["samples"]


def test_samples_are_drawn_evenly() -> None:
    """Each of 20 values is in a quarter of the samples: chi-square of 19 degrees, 99.9%."""
    times: Counter[int] = Counter()
    rng = random.Random(3)
    for _ in range(2000):
        lowest: Lowest[int] = Lowest(5)
        for value in range(20):
            key = rng.getrandbits(64)
            if lowest.wants(key):
                lowest.add(key, value)
        times.update(lowest.values())
    assert sum((times[value] - 500) ** 2 / (500 * 0.75) for value in range(20)) < 43.8


def test_quantiles_of_many_lengths_are_those_of_numpy() -> None:
    rng = np.random.default_rng(5)
    values = np.exp(rng.normal(7, 2, 20_000)).astype(int)
    halves = Lengths(), Lengths()
    for number, value in enumerate(values.tolist()):
        halves[number % 2].add(value)
    halves[0].merge(halves[1])
    shares = [0.001, 0.1, 0.5, 0.9, 0.999, 1.0]
    exact = np.quantile(values, shares, method="inverted_cdf")
    found = halves[0].quantiles(shares)
    assert found is not None
    assert np.all(np.array(found) <= exact)
    assert np.all(np.array(found) >= exact * (1 - 2**-10))
    assert (halves[0].shortest, halves[0].longest) == (values.min(), values.max())
    assert halves[0].total == values.sum()


def test_estimated_duplicates_are_within_their_error() -> None:
    """Of 40,000 texts in one to four copies, with room for 1,000; 19 of 20 intervals hold, and all
    three together in 86% of the draws: these digests are one draw."""
    rng = random.Random(11)
    digests = {source: [rng.randbytes(16) for _ in range(20_000)] for source in ("a", "b")}
    digests["b"][:5000] = digests["a"][:5000]
    halves = Repeats(max_texts=1000), Repeats(max_texts=1000)
    extra = Counter[str]()
    for source, values in digests.items():
        for number, value in enumerate(values):
            copies = 1 + number % 4
            extra[source] += copies - 1
            for copy in range(copies):
                halves[copy % 2].add(source, value)
    halves[0].merge(halves[1])
    found = halves[0].to_json()
    assert halves[0].num_held <= 1000
    assert found["share_looked_at"] < 0.05
    for source in digests:
        within = found["within"][source]
        assert 0 < within["error"] < 0.2 * extra[source]
        assert abs(within["documents"] - extra[source]) <= within["error"]
    shared = found["texts_shared"]["a"]["b"]
    assert abs(shared["documents"] - 5000) <= shared["error"]
    # Every text shared takes one document more from the whole.
    in_all = found["in_all"]
    assert abs(in_all["documents"] - (extra["a"] + extra["b"] + 5000)) <= in_all["error"]


def test_a_name_for_every_document_does_not_fill_the_memory() -> None:
    halves = Tally(), Tally()
    for number in range(3 * MAX_NAMES):
        halves[number % 2].add(f"name {number}")
    halves[0].merge(halves[1])
    assert len(halves[0].counts) == MAX_NAMES
    assert sum(halves[0].to_json().values()) == 3 * MAX_NAMES


@pytest.mark.parametrize(
    ("language", "path", "expected"),
    [
        ("en", "notes.md", ("en", "markdown")),
        ("eng_Latn", "notes", ("eng_Latn", None)),
        ("Go", "x", (None, "go")),
        ("C++", "x.py", (None, "cpp")),
        (None, "x.rs", (None, "rust")),
    ],
)
def test_languages_of_people_and_of_programs_are_told_apart(
    language: str | None, path: str, expected: tuple[str | None, str | None]
) -> None:
    metadata = {} if language is None else {"language": language}
    assert languages_of(Document("a", "code", path, path, None, "x", metadata)) == expected


def test_what_a_stage_has_left_out_is_told_with_samples(tmp_path: Path) -> None:
    texts = ["x = 0x1f\n" * 9, "def f(x):\n    return x\n" * 5, "def g(y):\n    return y\n" * 5]
    records = [{"id": f"{n}.py", "path": f"{n}.py", "text": text} for n, text in enumerate(texts)]
    write_records(tmp_path / "corpus" / "code.jsonl", records)
    stage = FilterStage({"code": load_policy("code")})
    run_stage(stage, tmp_path / "corpus", tmp_path / "out", keep_dropped=True)
    found = summarise(tmp_path / "out", count_corpus(tmp_path / "out", OPTIONS))
    (told,) = found["stages"]
    of_code = told["sources"]["code"]
    assert (told["name"], of_code["read"], of_code["kept"]) == ("filter", 3, 2)
    assert of_code["dropped"] == {"contains 0x": {"count": 1, "first": ["0.py"]}}
    (sample,) = found["dropped_samples"]["code"]["contains 0x"]
    assert (sample["id"], sample["text"]) == ("0.py", texts[0])
    assert found["sources"]["code"]["documents"] == 2


def test_an_empty_source_has_no_lengths(tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text("")
    one = summarise(tmp_path, count_corpus(tmp_path, OPTIONS))["sources"]["text"]
    assert (one["documents"], one["lengths"], one["samples"]) == (0, None, [])


def test_synthetic_documents_tell_of_their_problems(tmp_path: Path) -> None:
    records = [
        {"id": str(n), "text": f"problem {n}", "metadata": {
            "family": ["lists", "graphs"][n % 2], "method": "grammar", "shape": "module",
            "language": "python", "difficulty": n / 10 + 0.02, "mutation": {"score": 1.0}}}
        for n in range(10)
    ]  # fmt: skip
    write_records(tmp_path / "synthetic.jsonl", records)
    one = summarise(tmp_path, count_corpus(tmp_path, OPTIONS))["sources"]["synthetic"]["synthetic"]
    assert one["families"] == {"graphs": 5, "lists": 5}
    assert one["difficulty"]["mean"] == pytest.approx(np.mean([n / 10 + 0.02 for n in range(10)]))
    expected, _ = np.histogram([n / 10 + 0.02 for n in range(10)], bins=20, range=(0, 1))
    assert one["difficulty"]["bins"] == expected.tolist()
    assert one["mutation_score"]["bins"][-1] == 10
    assert one["methods"] == {"grammar": 10}


def test_a_report_that_is_none_is_refused(tmp_path: Path) -> None:
    write_records(tmp_path / "text.jsonl", [{"text": "some words"}])
    counts = count_corpus(tmp_path, OPTIONS)
    for content in ("{", '{"pairs": {}}'):
        (tmp_path / "duplicates.json").write_text(content)
        with pytest.raises(DataError, match=r"duplicates\.json"):
            summarise(tmp_path, counts)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "some words"}\nnot JSON\n')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        count_corpus(tmp_path, OPTIONS)
