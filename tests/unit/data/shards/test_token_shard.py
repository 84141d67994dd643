"""Token shards: Megatron reads what we write, and no changed byte is read."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from megatron_codemix.data.shards.block_hashes import BLOCK_BYTES
from megatron_codemix.data.shards.layout import shard_file, token_dtype
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.token_shard import TokenShard, require_tokenizer
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.errors import DataError
from tests.helpers.shards import finish_unchecked

FIELDS: dict[str, Any] = {
    "source": "code",
    "split": "train",
    "tokenizer_hash": "abcdef0123456789",
    "vocabulary_size": 71_000,
    "end_of_document_id": 0,
    "num_bytes": 12,
    "licences": {"MIT": 1},
    "origin": {},
}

READ_WITH_MEGATRON = """
import hashlib, json, sys
from megatron.core.datasets.indexed_dataset import IndexedDataset
answers = []
for prefix in sys.argv[1:]:
    dataset = IndexedDataset(prefix, mmap=True)
    documents = [dataset[number] for number in range(len(dataset))]
    answers.append({
        "dtype": str(documents[0].dtype),
        "documents": [document.tolist() for document in documents],
        "borders": dataset.document_indices.tolist(),
    })
print("ANSWER" + json.dumps(answers))
"""

WRITE_UNDER_A_LIMIT = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from megatron_codemix.data.shards.writer import TokenShardWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with TokenShardWriter(Path(sys.argv[1]), np.uint16) as writer:
    writer.add_document(np.ones(1_000_000, np.uint16))
"""


def write_shard(prefix: Path, documents: list[list[int]], dtype: Any = np.uint16) -> Manifest:
    with TokenShardWriter(prefix, dtype) as writer:
        for document in documents:
            writer.add_document(document)
        return finish_unchecked(writer, **FIELDS)


def random_documents(count: int, longest: int, seed: int = 1) -> list[list[int]]:
    numbers = random.Random(seed)
    return [
        [*(numbers.randrange(1, 1000) for _ in range(numbers.randrange(longest))), 0]
        for _ in range(count)
    ]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_megatron_reads_the_same_tokens(tmp_path: Path):
    documents = random_documents(300, 50)
    large = [[70_000 + token for token in document] for document in documents]
    write_shard(tmp_path / "small.train", documents, np.uint16)
    write_shard(tmp_path / "large.train", large, np.int32)
    prefixes = [str(tmp_path / "small.train"), str(tmp_path / "large.train")]
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ_WITH_MEGATRON, *prefixes],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    small_answer, large_answer = json.loads(output.split("ANSWER")[1])
    borders = list(range(301))
    assert small_answer == {"dtype": "uint16", "documents": documents, "borders": borders}
    assert large_answer == {"dtype": "int32", "documents": large, "borders": borders}


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    data=st.lists(
        npst.arrays(np.uint16, st.integers(0, 40), elements=st.integers(0, 999)), max_size=20
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: list[Any]):
    prefix = tmp_path_factory.mktemp("shard") / "a.b"
    with TokenShardWriter(prefix, np.uint16) as writer:
        for document in data:
            writer.add_document(document)
        manifest = finish_unchecked(writer, **FIELDS)
    shard = TokenShard.open(prefix)
    assert shard.manifest == manifest
    assert shard.num_documents == len(data)
    flat = np.concatenate([*data, np.empty(0, np.uint16)])
    assert np.array_equal(shard.tokens(0, shard.num_tokens), flat)
    for number, document in enumerate(data):
        assert np.array_equal(shard.document(number), document)
    assert shard.lengths.dtype == np.int32
    assert shard.offsets.dtype == np.int64


def test_type_follows_the_vocabulary():
    assert token_dtype(65_535) == np.uint16
    assert token_dtype(65_536) == np.int32


def test_slice_outside_the_shard_is_a_bug(tmp_path: Path):
    write_shard(tmp_path / "a", [[1, 0]])
    with pytest.raises(IndexError, match="of 2 tokens"):
        TokenShard.open(tmp_path / "a").tokens(1, 3)


@pytest.fixture(scope="module")
def three_blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard of two blocks and a bit."""
    prefix = tmp_path_factory.mktemp("blocks") / "code.train"
    numbers = np.random.default_rng(1)
    with TokenShardWriter(prefix, np.uint16) as writer:
        for length in (20_000, 26_000, 26_000):
            writer.add_document(numbers.integers(1, 1000, length))
        finish_unchecked(writer, **FIELDS)
    return prefix


def copied(prefix: Path, folder: Path) -> Path:
    for path in prefix.parent.glob(f"{prefix.name}.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / prefix.name


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_flipped_bit_is_refused_when_its_block_is_touched(
    tmp_path: Path, three_blocks: Path, block: int
):
    prefix = copied(three_blocks, tmp_path)
    flip(shard_file(prefix, ".bin"), 8 * (block * BLOCK_BYTES + 5000) + 3)
    shard = TokenShard.open(prefix)
    tokens_per_block = BLOCK_BYTES // 2
    assert shard.num_blocks == 4  # one of the .idx
    for other in {0, 1, 2} - {block}:
        start = other * tokens_per_block
        shard.tokens(start, min(start + tokens_per_block, shard.num_tokens))
    start = block * tokens_per_block
    with pytest.raises(DataError, match=rf"code\.train\.bin: block {block} \(of 0 to 2;"):
        shard.tokens(start, start + 1)
    with pytest.raises(DataError, match=rf"block {block} \(of 0 to 2;"):
        shard.tokens(0, shard.num_tokens)


def test_any_flipped_bit_of_the_index_is_refused(tmp_path: Path):
    write_shard(tmp_path / "a", random_documents(20, 30))
    path = tmp_path / "a.idx"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 37):
        flip(path, bit)
        with pytest.raises(DataError, match=r"a\.idx"):
            TokenShard.open(tmp_path / "a").document(3)
        path.write_bytes(whole)
    TokenShard.open(tmp_path / "a")


@pytest.mark.parametrize("suffix", [".bin", ".idx", ".blocks", ".manifest.json"])
@pytest.mark.parametrize("kept", [0, 10, -1])
def test_cut_files_are_refused_by_name(tmp_path: Path, suffix: str, kept: int):
    write_shard(tmp_path / "a", random_documents(20, 30))
    path = shard_file(tmp_path / "a", suffix)
    path.write_bytes(path.read_bytes()[: kept or None] if kept else b"")
    if suffix == ".manifest.json" and kept == -1:  # only the last line end is gone
        TokenShard.open(tmp_path / "a")
        return
    with pytest.raises(DataError) as caught:
        TokenShard.open(tmp_path / "a")
    assert str(path) in str(caught.value)


def test_files_of_two_shards_do_not_mix(tmp_path: Path):
    write_shard(tmp_path / "a", random_documents(20, 30, seed=1))
    write_shard(tmp_path / "b", random_documents(20, 30, seed=2))
    (tmp_path / "a.idx").write_bytes((tmp_path / "b.idx").read_bytes())
    with pytest.raises(DataError, match=r"a\.idx: block 0 .*has changed"):
        TokenShard.open(tmp_path / "a").document(0)
    (tmp_path / "a.blocks").write_bytes((tmp_path / "b.blocks").read_bytes())
    with pytest.raises(DataError, match=r"a\.blocks: has changed"):
        TokenShard.open(tmp_path / "a")


def test_a_shard_without_manifest_says_how_to_write_one(tmp_path: Path):
    write_shard(tmp_path / "a", [[1, 0]])
    (tmp_path / "a.manifest.json").unlink()
    with pytest.raises(DataError, match=r"codemix data manifest .*a --tokenizer"):
        TokenShard.open(tmp_path / "a")


def test_a_missing_shard_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="no token shard there"):
        TokenShard.open(tmp_path / "nothing")


def test_another_tokenizer_is_refused(tmp_path: Path):
    write_shard(tmp_path / "a", [[1, 0]])
    shard = TokenShard.open(tmp_path / "a")
    require_tokenizer(shard, FIELDS["tokenizer_hash"])
    with pytest.raises(DataError, match="made with tokenizer abcdef01, not with 99999999"):
        require_tokenizer(shard, "9999999999")


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path):
    def fail_after_a_document() -> None:
        with TokenShardWriter(tmp_path / "a", np.uint16) as writer:
            writer.add_document([1, 2])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_a_document()
    assert files(tmp_path) == []


def test_a_writer_that_is_left_unfinished_leaves_nothing(tmp_path: Path):
    with TokenShardWriter(tmp_path / "a", np.uint16) as writer:
        writer.add_document([1, 2])
    assert files(tmp_path) == []


def test_a_rewrite_that_fails_leaves_the_old_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "a", [[1, 0]])
    with (
        pytest.raises(DataError, match="document 0 has tokens from 0 to 70000, which uint16"),
        TokenShardWriter(tmp_path / "a", np.uint16) as writer,
    ):
        writer.add_document([70_000, 0])
    assert TokenShard.open(tmp_path / "a").document(0).tolist() == [1, 0]
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "no document was added"),
        ([[5, 0], [7, 5000, 0]], "token 3 is 5000, outside the vocabulary of 1000 entries"),
        ([[5, 0], [-1, 0]], "token 2 is -1, outside the vocabulary of 1000 entries"),
        ([[5, 7], [7, 0]], r"document 0 does not end with the end-of-document token \(0\)"),
        ([[5, 0], [7, 0], [0, 7], [9]], "document 2 does not end"),
        ([[5, 0], []], "document 1 does not end"),
        ([[], [5, 0]], "document 0 does not end"),
    ],
)
@pytest.mark.parametrize("in_one_block", [False, True])
def test_what_no_training_can_read_is_no_shard(
    tmp_path: Path, documents: list[list[int]], message: str, in_one_block: bool
):
    """And the shard that was there stays."""
    write_shard(tmp_path / "a", [[1, 0]])
    tokens = np.array([token for document in documents for token in document], np.int32)
    with TokenShardWriter(tmp_path / "a", np.int32) as writer:
        if in_one_block:
            writer.append_block(tokens, np.array([len(document) for document in documents], int))
        else:
            for document in documents:
                writer.add_document(document)
        with pytest.raises(DataError, match=message):
            writer.finish(**{**FIELDS, "vocabulary_size": 1000})
    assert TokenShard.open(tmp_path / "a").document(0).tolist() == [1, 0]
    assert len(files(tmp_path)) == 4


def test_the_first_of_all_wrong_tokens_is_named_in_later_blocks(tmp_path: Path):
    with TokenShardWriter(tmp_path / "a", np.uint16) as writer:
        for _ in range(3):
            writer.append_block(np.array([5, 9, 0], np.uint16), np.array([3]))
        writer.append_block(np.array([5, 2000, 0], np.uint16), np.array([3]))
        with pytest.raises(DataError, match="token 10 is 2000"):
            writer.finish(**{**FIELDS, "vocabulary_size": 1000})


@pytest.mark.parametrize("document", [[0.5, 0.0], [[1, 0]], 7, ["a"], [True]])
def test_a_document_is_a_flat_list_of_integers(tmp_path: Path, document: Any):
    with TokenShardWriter(tmp_path / "a", np.uint16) as writer:
        with pytest.raises(DataError, match=r"document 0 is an array of .* flat list of integers"):
            writer.add_document(document)
        writer.add_document([1, 0])
        assert writer.finish(**FIELDS).num_documents == 1


def test_a_full_disk_leaves_nothing_that_looks_whole(tmp_path: Path):
    # A limit on file size fails a write half-way, as a full disk does.
    finished = subprocess.run(
        [sys.executable, "-c", WRITE_UNDER_A_LIMIT, str(tmp_path / "a")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "File too large" in finished.stderr
    assert files(tmp_path) == []


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_blocks_of_documents_give_the_bytes_of_single_documents(tmp_path: Path, dtype: Any):
    documents = random_documents(3_000, 40)
    write_shard(tmp_path / "single", documents, dtype)
    lengths = np.array([len(document) for document in documents], np.int32)
    with TokenShardWriter(tmp_path / "blocks", dtype) as writer:
        for part in np.split(np.arange(3_000), [0, 1, 1_500]):
            tokens = [token for number in part for token in documents[number]]
            writer.append_block(np.array(tokens, dtype), lengths[part])
        finish_unchecked(writer, **FIELDS)
    for suffix in (".bin", ".idx", ".manifest.json"):
        single, blocks = (shard_file(tmp_path / name, suffix) for name in ("single", "blocks"))
        assert single.read_bytes() == blocks.read_bytes()
