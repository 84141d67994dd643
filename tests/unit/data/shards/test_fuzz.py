"""Damaged files of a shard are refused by name, or every token that is read is the right one.

Seeded mutations of each file: flipped bits, cuts, extensions, exchanged pieces, huge numbers in
headers, changed values of the manifest. Nothing may crash, hang, or allocate by what a damaged file
says of itself.
"""

import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatron_codemix.data.documents_file import find_document, read_records
from megatron_codemix.data.shards.describe import describe_shard
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.shards.unchecked_shard import open_unchecked
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from tests.helpers.tiny import END_OF_DOCUMENT, VOCABULARY, write_tokenizer

NUM_MUTATIONS = 2_000
"""Of each of the five files."""
PEAK_BYTES = 4_000_000
"""The shard has 2 kB; a parser of JSON, hashes and messages take some of this."""

Mutation = Callable[[random.Random, bytearray], None]


def flip_bits(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice([1, 1, 2, 9])):
        place = rng.randrange(len(data))
        data[place] ^= 1 << rng.randrange(8)


def cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def extend(rng: random.Random, data: bytearray) -> None:
    data += rng.choice([rng.randbytes(rng.randrange(1, 64)), bytes(8), data[:20]])


def exchange(rng: random.Random, data: bytearray) -> None:
    size = rng.randrange(1, max(2, len(data) // 4))
    first, second = (rng.randrange(len(data) - size + 1) for _ in range(2))
    one, other = data[first : first + size], data[second : second + size]
    data[first : first + size] = other
    data[second : second + size] = one


def write_number(rng: random.Random, data: bytearray) -> None:
    """A huge or odd number where one may stand: in a header, a length, a pointer, a hash."""
    number = rng.choice([0, 1, 2**31, 2**40, 2**61 - 1, 2**63, 2**64 - 1, rng.getrandbits(64)])
    places = [9, 18, 26, 34, rng.randrange(len(data))]
    place = min(rng.choice(places), len(data) - 1)
    data[place : place + 8] = number.to_bytes(8, "little")[: len(data) - place]


def drop_a_piece(rng: random.Random, data: bytearray) -> None:
    place = rng.randrange(len(data))
    del data[place : place + rng.randrange(1, 16)]


BINARY: list[Mutation] = [flip_bits, cut, extend, exchange, write_number, drop_a_piece]


def change_json(rng: random.Random, data: bytearray) -> None:
    """Another value, of any type, in place of one of the manifest's; or one gone, or one more."""
    record = json.loads(data)
    key = rng.choice(sorted(record))
    odd: list[Any] = [None, True, -1, 0, 1, 7, 2**31, 2**63, 10**30, 1e300, 0.5, "", "x", "9" * 64]
    odd += [[], {}, [1], {"a": None}, {"MIT": -5}, float("inf"), "int32", "uint16", "\ud800"]
    kind = rng.randrange(8)
    if kind == 0:
        del record[key]
    elif kind == 1:
        record["more"] = rng.choice(odd)
    elif kind == 2 and isinstance(record[key], int):
        record[key] += rng.choice([-1, 1, 2**16, 2**32])
    else:
        record[key] = rng.choice(odd)
    data[:] = json.dumps(record).encode()


def read_all(prefix: Path) -> tuple[list[list[int]], list[int], list[int]]:
    """Every document by every path there is, or DataError."""
    shard = TokenShard.open(prefix)
    numbers = np.arange(shard.num_documents)
    first, length = shard.document_bounds(numbers)
    shard.check(first, length)
    by_bounds = [shard.data[a : a + n].tolist() for a, n in zip(first, length, strict=True)]
    by_number = [shard.document(number).tolist() for number in range(shard.num_documents)]
    assert by_bounds == by_number
    owners = shard.documents_of(np.arange(shard.num_tokens)).tolist()
    assert np.array_equal(shard.offsets, first)
    return by_number, owners, shard.lengths.tolist()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder / "tokenizer.json")
    return Tokenizer.load(folder / "tokenizer.json")


@pytest.fixture
def shard(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A shard of 30 documents, with the lines that describing writes."""
    rng = np.random.default_rng(5)
    with TokenShardWriter(tmp_path / "a", np.uint16) as writer:
        for length in rng.integers(0, 40, 30):
            writer.add_document([*rng.integers(0, 256, length).tolist(), END_OF_DOCUMENT])
        writer.finish(
            source="text",
            split="train",
            tokenizer_hash=tokenizer.hash,
            vocabulary_size=VOCABULARY,
            end_of_document_id=END_OF_DOCUMENT,
            num_bytes=0,
            licences={},
            origin={},
        )
    describe_shard(
        tmp_path / "a", tokenizer, "text", "train", lambda amount: None, is_replacing=True
    )
    return tmp_path / "a"


def check_mutations(
    path: Path, mutations: list[Mutation], read: Callable[[], Any], seed: int
) -> int:
    """Reads after each of NUM_MUTATIONS; returns how often the file was refused."""
    rng, original, right = random.Random(seed), path.read_bytes(), read()
    refused = 0
    for number in range(NUM_MUTATIONS):
        data = bytearray(original)
        mutations[number % len(mutations)](rng, data)
        if data == original:
            continue
        # Another inode for each: the map of the one before may still be held.
        path.unlink()
        path.write_bytes(data)
        found, refusal, peak = attempt(read)
        if peak >= PEAK_BYTES:  # what is imported at its first use is not the file's doing
            found, refusal, peak = attempt(read)
        assert peak < PEAK_BYTES, number
        if refusal:
            assert str(path.with_name("a")) in refusal, (number, refusal)
            refused += 1
        else:
            assert found == right, number
    path.write_bytes(original)
    assert read() == right
    return refused


def attempt(read: Callable[[], Any]) -> tuple[Any, str, int]:
    """(what was read, or the refusal; bytes that this took at the worst moment)."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    found, refusal = None, ""
    try:
        found = read()
    except DataError as error:
        refusal = str(error)
    return found, refusal, tracemalloc.get_traced_memory()[1] - before


@pytest.fixture
def _traced():
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize("suffix", [".bin", ".idx", ".blocks"])
def test_damaged_files_are_refused_or_read_right(shard: Path, suffix: str):
    refused = check_mutations(
        shard_file(shard, suffix), BINARY, lambda: read_all(shard), seed=len(suffix)
    )
    assert refused > 0.95 * NUM_MUTATIONS  # a few exchanges change nothing


@pytest.mark.usefixtures("_traced")
def test_damaged_manifests_are_refused_or_change_no_token(shard: Path):
    mutations = [change_json] * len(BINARY) + BINARY
    refused = check_mutations(
        shard_file(shard, ".manifest.json"), mutations, lambda: read_all(shard), seed=4
    )
    assert refused > NUM_MUTATIONS // 2


@pytest.mark.usefixtures("_traced")
def test_damaged_lines_of_documents_are_refused_or_are_other_lines(shard: Path):
    """Nothing hashes them at reading (`verify` does): they decide no token."""

    def read() -> bool:
        read_records(shard, [0, 7, 29])
        find_document(shard, "a:29")
        return True

    check_mutations(shard_file(shard, ".documents.jsonl"), BINARY, read, seed=5)


@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize("suffix", [".bin", ".idx"])
def test_a_shard_without_hashes_is_refused_or_is_sound(
    shard: Path, tokenizer: Tokenizer, suffix: str
):
    """What `data manifest` reads: there, any tokens are right that fit the index."""
    for other in (".manifest.json", ".blocks"):
        shard_file(shard, other).unlink()

    def read() -> bool:
        found = open_unchecked(shard)
        assert int(found.lengths.sum()) == len(found.tokens)
        return True

    check_mutations(shard_file(shard, suffix), BINARY, read, seed=6)
