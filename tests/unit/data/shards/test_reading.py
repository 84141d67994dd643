"""Documents and tokens are found in the mapped files, and a shard that is exchanged is noticed."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.errors import DataError
from tests.helpers.shards import finish_unchecked

SUFFIXES = (".bin", ".idx", ".blocks", ".manifest.json")
FIELDS: dict[str, Any] = {
    "source": "code",
    "split": "train",
    "tokenizer_hash": "t",
    "vocabulary_size": 1000,
    "end_of_document_id": 0,
    "num_bytes": 0,
    "licences": {},
    "origin": {},
}


def write(prefix: Path, lengths: list[int], seed: int = 0, dtype: Any = np.uint16) -> np.ndarray:
    """Writes documents of random tokens; returns all tokens."""
    tokens = np.random.default_rng(seed).integers(0, 1000, sum(lengths)).astype(dtype)
    with TokenShardWriter(prefix, dtype) as writer:
        writer.append_block(tokens, np.array(lengths))
        finish_unchecked(writer, **FIELDS)
    return tokens


@pytest.mark.parametrize("num_documents", [1, 2, 3, 7, 8, 9, 1000, 20_000])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_documents_are_found_by_their_tokens(tmp_path: Path, num_documents: int, dtype: Any):
    lengths = np.random.default_rng(1).integers(0, 9, num_documents)  # some are empty
    lengths[num_documents // 2] = 5
    write(tmp_path / "a", lengths.tolist(), dtype=dtype)
    shard = TokenShard.open(tmp_path / "a")
    wanted = np.repeat(np.arange(num_documents), lengths)
    assert np.array_equal(shard.documents_of(np.arange(shard.num_tokens)), wanted)
    starts = np.cumsum(lengths) - lengths
    numbers = np.random.default_rng(2).integers(0, num_documents, 500)
    first, length = shard.document_bounds(numbers)
    assert np.array_equal(first, starts[numbers])
    assert np.array_equal(length, lengths[numbers])
    assert np.array_equal(shard.lengths, lengths)
    assert np.array_equal(shard.offsets, starts)
    for outside in ([-1], [shard.num_tokens]):
        with pytest.raises(IndexError):
            shard.documents_of(np.array(outside))
    for outside in ([-1], [num_documents]):
        with pytest.raises(IndexError):
            shard.document_bounds(np.array(outside))


def test_a_batch_is_checked_before_it_is_read(tmp_path: Path):
    tokens = write(tmp_path / "a", [200_000])
    path = tmp_path / "a.bin"
    data = bytearray(path.read_bytes())
    data[2 * 150_000] ^= 1
    path.write_bytes(data)
    shard = TokenShard.open(tmp_path / "a")
    first, length = np.array([5, 99_000, 190_000]), np.array([9, 5000, 10_000])
    shard.check(first, length)
    for begin, count in zip(first, length, strict=True):
        wanted = tokens[begin : begin + count]
        assert np.array_equal(shard.data[begin : begin + count], wanted)
    with pytest.raises(DataError, match=r"a\.bin: block 4 "):
        shard.check(np.array([5, 140_000]), np.array([9, 20_000]))
    with pytest.raises(ValueError, match="outside"):
        shard.check(np.array([199_999]), np.array([2]))


@pytest.mark.parametrize(("dtype", "value"), [(np.uint16, 1000), (np.int32, 1000), (np.int32, -1)])
def test_a_token_outside_the_vocabulary_is_named(tmp_path: Path, dtype: Any, value: int):
    tokens = np.zeros(100_000, dtype)
    tokens[70_003] = value
    with TokenShardWriter(tmp_path / "a", dtype) as writer:
        writer.add_document(tokens)
        finish_unchecked(writer, **FIELDS)
    shard = TokenShard.open(tmp_path / "a")
    shard.tokens(0, 100)
    with pytest.raises(DataError, match=f"token 70003 is {value}, outside the vocabulary of 1000"):
        shard.tokens(70_000, 70_001)


@pytest.mark.parametrize("suffix", [".bin", ".idx", ".blocks"])
def test_opening_reads_nothing_that_grows_with_the_shard(tmp_path: Path, suffix: str):
    """Damage in the middle of a file is met only where it is touched."""
    write(tmp_path / "a", [5] * 60_000)
    path = shard_file(tmp_path / "a", suffix)
    data = bytearray(path.read_bytes())
    data[100] ^= 255
    path.write_bytes(data)
    shard = TokenShard.open(tmp_path / "a")
    with pytest.raises(DataError, match=rf"a\{suffix}: "):
        shard.document(0)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_exchanged_shard_is_noticed(tmp_path: Path, in_place: bool, seed: int):
    write(tmp_path / "a", [50, 70])
    shard = TokenShard.open(tmp_path / "a")
    tokens = shard.tokens(0, 120).copy()
    assert not shard.recheck()
    (tmp_path / "new").mkdir()
    write(tmp_path / "new" / "a", [50, 70], seed)
    for suffix in SUFFIXES:
        new, old = (shard_file(tmp_path / folder / "a", suffix) for folder in ("new", "."))
        if in_place:  # the same inode, the same size
            before = old.stat()
            old.write_bytes(new.read_bytes())
            os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        else:
            os.replace(new, old)
    if seed == 0:
        assert shard.recheck()
        assert not shard.recheck()
        assert np.array_equal(shard.tokens(0, 120), tokens)
    else:
        with pytest.raises(DataError, match="a: replaced by another shard"):
            shard.recheck()


def test_blocks_are_hashed_anew_after_an_exchange(tmp_path: Path):
    write(tmp_path / "a", [50, 70])
    shard = TokenShard.open(tmp_path / "a")
    shard.tokens(0, 120)
    data = bytearray((tmp_path / "a.bin").read_bytes())
    data[3] ^= 1
    (tmp_path / "a.bin").write_bytes(data)
    assert shard.recheck()
    with pytest.raises(DataError, match=r"a\.bin: block 0"):
        shard.tokens(0, 1)


def test_a_shard_that_is_gone_is_named(tmp_path: Path):
    write(tmp_path / "a", [50, 70])
    shard = TokenShard.open(tmp_path / "a")
    (tmp_path / "a.blocks").unlink()
    with pytest.raises(DataError, match=r"a\.blocks: is missing"):
        shard.recheck()


def test_the_root_follows_from_its_definition(tmp_path: Path):
    write(tmp_path / "a", [40_000, 1])
    digests = []
    for suffix in (".bin", ".idx"):
        data = shard_file(tmp_path / "a", suffix).read_bytes()
        digests += [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
    leaves = b"".join(hashlib.sha256(block).digest()[:16] for block in digests)
    pages = hashlib.sha256(leaves).digest()[:16]
    assert (tmp_path / "a.blocks").read_bytes() == leaves + pages
    assert Manifest.load(tmp_path / "a.manifest.json").blocks_root == (
        hashlib.sha256(pages).hexdigest()
    )


def test_more_documents_than_int32_counts(tmp_path: Path):
    """Sparse files: 2^31 + 5 documents, all empty but the last three of 2^31 - 1 tokens each."""
    num_documents, length = 2**31 + 5, 2**31 - 1
    num_tokens = 3 * length
    prefix = tmp_path / "huge"
    lengths_at, pointers_at = 34, 34 + 4 * num_documents
    header = b"MMIDIDX\x00\x00" + (1).to_bytes(8, "little") + bytes([8])
    header += num_documents.to_bytes(8, "little") + (num_documents + 1).to_bytes(8, "little")
    idx_bytes = 34 + 20 * num_documents + 8
    starts = np.arange(3, dtype=np.int64) * length
    written = {
        0: header,
        lengths_at + 4 * (num_documents - 3): np.full(3, length, np.int32).tobytes(),
        pointers_at + 8 * (num_documents - 3): (2 * starts).tobytes(),
    }
    last_token = 2 * (num_tokens - 1)
    _sparse(shard_file(prefix, ".idx"), idx_bytes, written)
    _sparse(shard_file(prefix, ".bin"), 2 * num_tokens, {last_token: (77).to_bytes(2, "little")})
    leaves = b"".join(_leaves(shard_file(prefix, suffix)) for suffix in (".bin", ".idx"))
    pages = b"".join(
        hashlib.sha256(leaves[at : at + 65_536]).digest()[:16]
        for at in range(0, len(leaves), 65_536)
    )
    shard_file(prefix, ".blocks").write_bytes(leaves + pages)
    root = hashlib.sha256(pages).hexdigest()
    Manifest(
        **FIELDS,
        dtype="uint16",
        num_documents=num_documents,
        num_tokens=num_tokens,
        blocks_root=root,
    ).save(shard_file(prefix, ".manifest.json"))

    shard = TokenShard.open(prefix)
    assert shard.documents_of(np.array([0, length, num_tokens - 1])).tolist() == [
        num_documents - 3,
        num_documents - 2,
        num_documents - 1,
    ]
    first, lengths = shard.document_bounds(np.array([0, num_documents - 1]))
    assert (first.tolist(), lengths.tolist()) == ([0, 2 * length], [0, length])
    assert shard.tokens(num_tokens - 2, num_tokens).tolist() == [0, 77]
    shard.check(np.array([num_tokens - 9]), np.array([9]))


def _sparse(path: Path, size: int, written: dict[int, bytes]) -> None:
    with open(path, "wb") as handle:
        handle.truncate(size)
        for place, data in written.items():
            handle.seek(place)
            handle.write(data)


def _leaves(path: Path) -> bytes:
    """Digests of a sparse file's blocks; what was never written is not read."""
    size = path.stat().st_size
    digests = [hashlib.sha256(bytes(65_536)).digest()[:16]] * (size // 65_536)
    if size % 65_536:
        digests.append(hashlib.sha256(bytes(size % 65_536)).digest()[:16])
    with open(path, "rb") as handle:
        place = 0
        while place < size:
            try:
                place = os.lseek(handle.fileno(), place, os.SEEK_DATA) // 65_536 * 65_536
            except OSError:  # nothing but holes up to the end
                break
            handle.seek(place)
            digests[place // 65_536] = hashlib.sha256(handle.read(65_536)).digest()[:16]
            place += 65_536
    return b"".join(digests)
