"""Token files of other programs become shards with the same tokens and borders."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from megatron_codemix.cli.data import app
from megatron_codemix.data.shards.imports import Import, import_tokens
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.shards.verify import verify_shards
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.files import read_jsonl
from tests.helpers.tiny import END_OF_DOCUMENT, VOCABULARY, write_tokenizer

WRITE_WITH_MEGATRON = """
import json, sys
import numpy, torch
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
folder, documents = sys.argv[1], json.loads(sys.argv[2])
for name in ("uint8", "int8", "int16", "int32", "int64", "uint16", "float32"):
    dtype = getattr(numpy, name)
    builder = IndexedDatasetBuilder(f"{folder}/{name}.bin", dtype=dtype)
    for sentences in documents:
        for sentence in sentences:
            if name in ("uint8", "int8"):
                sentence = [token % 100 for token in sentence]
            builder.add_item(torch.tensor(sentence))
        builder.end_document()
    builder.finalize(f"{folder}/{name}.idx")
builder = IndexedDatasetBuilder(f"{folder}/modes.bin", dtype=numpy.uint16, multimodal=True)
builder.add_item(torch.tensor([1, 2, 256]), 1)
builder.end_document()
builder.finalize(f"{folder}/modes.idx")
"""


def random_sentences(seed: int = 1) -> list[list[list[int]]]:
    """Documents of some sentences of tokens below 256, none ended."""
    rng = np.random.default_rng(seed)
    return [
        [rng.integers(0, 256, rng.integers(1, 9)).tolist() for _ in range(rng.integers(1, 5))]
        for _ in range(60)
    ]


SENTENCES = random_sentences()


@pytest.fixture(scope="module")
def megatron(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets of several sequences a document, one for each of Megatron's types."""
    folder = tmp_path_factory.mktemp("megatron")
    command = [sys.executable, "-W", "ignore", "-c", WRITE_WITH_MEGATRON]
    subprocess.run([*command, str(folder), json.dumps(SENTENCES)], check=True)
    return folder


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    write_tokenizer(tmp_path / "tokenizer.json")
    return Tokenizer.load(tmp_path / "tokenizer.json")


def ignore(amount: int) -> None:
    return None


def run(tokenizer: Tokenizer, path: Path, inputs: list[Path], **options: Any) -> Manifest:
    asked = Import(inputs=inputs, out=path / "out", tokenizer=tokenizer, source="text", **options)
    return import_tokens(asked, ignore)


def documents_of(prefix: Path) -> list[list[int]]:
    shard = TokenShard.open(prefix)
    return [shard.document(number).tolist() for number in range(shard.num_documents)]


def ended_documents(count: int = 300, seed: int = 2) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [
        [*rng.integers(0, 256, rng.integers(0, 30)).tolist(), END_OF_DOCUMENT] for _ in range(count)
    ]


@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "int32", "int64", "uint16"])
def test_megatrons_sequences_are_joined_to_documents(
    megatron: Path, tmp_path: Path, tokenizer: Tokenizer, name: str
):
    manifest = run(tokenizer, tmp_path, [megatron / name], append_eod=True)
    divisor = 100 if name in ("uint8", "int8") else 256
    wanted = [
        [*(token % divisor for sentence in document for token in sentence), END_OF_DOCUMENT]
        for document in SENTENCES
    ]
    assert documents_of(tmp_path / "out") == wanted
    assert manifest.num_bytes == sum(len(document) - 1 for document in wanted)  # a byte is a token
    assert verify_shards([tmp_path / "out"], ignore)[0].problems == []
    lines = read_jsonl(tmp_path / "out.documents.jsonl")
    assert [line["tokens"] for line in lines] == [len(document) for document in wanted]
    assert [line["bytes"] for line in lines] == [len(document) - 1 for document in wanted]
    assert lines[7]["id"] == f"{name}.bin:7"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("float32", "holds float32, which are no tokens"),
        ("modes", "has a mode for each sequence"),
        ("uint16", r"uint16\.bin: document 0 does not end with .* append it with --append-eod"),
        ("absent", r"absent\.idx: cannot be read"),
    ],
)
def test_what_cannot_be_imported_is_refused_by_name(
    megatron: Path, tmp_path: Path, tokenizer: Tokenizer, name: str, message: str
):
    with pytest.raises(DataError, match=message):
        run(tokenizer, tmp_path, [megatron / name])
    assert not list(tmp_path.glob("out*"))
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int64"])
def test_olmos_raw_numbers_are_divided_at_the_end_token(
    tmp_path: Path, tokenizer: Tokenizer, dtype: str
):
    documents = ended_documents()
    half = len(documents) // 2
    for number, part in enumerate((documents[:half], documents[half:])):
        flat = np.array([token for document in part for token in document], dtype)
        flat.tofile(tmp_path / f"part-{number}.npy")
    inputs = [tmp_path / "part-0.npy", tmp_path / "part-1.npy"]
    run(tokenizer, tmp_path, inputs, dtype=dtype)
    assert documents_of(tmp_path / "out") == documents
    with pytest.raises(DataError, match="say their type with --dtype"):
        run(tokenizer, tmp_path, inputs, is_replacing=True)


def test_numpy_files_say_their_type(tmp_path: Path, tokenizer: Tokenizer):
    documents = ended_documents()
    np.save(tmp_path / "a.npy", np.array([t for d in documents for t in d], np.int64))
    run(tokenizer, tmp_path, [tmp_path / "a.npy"])
    assert documents_of(tmp_path / "out") == documents
    np.save(tmp_path / "square.npy", np.zeros((2, 2), np.int64))
    with pytest.raises(DataError, match="tokens are integers in one dimension"):
        run(tokenizer, tmp_path, [tmp_path / "square.npy"], is_replacing=True)


def write_datatrove(path: Path, documents: list[list[int]], code: str, metadata: str) -> None:
    """By datatrove's definition: tokens (H or I), and the end of each document as uint64."""
    flat = [token for document in documents for token in document]
    path.write_bytes(struct.pack(f"<{len(flat)}{code}", *flat))
    ends = np.cumsum([len(document) for document in documents]).tolist()
    path.with_name(path.name + ".index").write_bytes(struct.pack(f"<{len(ends)}Q", *ends))
    path.with_name(path.name + ".metadata").write_text(f"{metadata}\n{len(flat)}\n5 T")


@pytest.mark.parametrize(("code", "metadata"), [("H", "gpt2"), ("I", "org/tokenizer|4")])
def test_datatroves_files_have_their_borders_beside_them(
    tmp_path: Path, tokenizer: Tokenizer, code: str, metadata: str
):
    documents = ended_documents()
    documents[3] = [END_OF_DOCUMENT, 5, END_OF_DOCUMENT]  # which an end token would divide
    documents[9] = [5, 6]
    path = tmp_path / "00000_00000_shuffled.ds"
    write_datatrove(path, documents, code, metadata)
    run(tokenizer, tmp_path, [path], append_eod=True)
    documents[9] = [5, 6, END_OF_DOCUMENT]
    assert documents_of(tmp_path / "out") == documents
    path.with_name(path.name + ".metadata").write_text(f"{metadata}\n7\n7 T")
    with pytest.raises(DataError, match="says '7' of the number of tokens"):
        run(tokenizer, tmp_path, [path], is_replacing=True)
    path.with_name(path.name + ".loss").write_bytes(b"")
    with pytest.raises(DataError, match="without a loss mask"):
        run(tokenizer, tmp_path, [path], is_replacing=True)


def test_documents_longer_than_a_block_stay_whole(tmp_path: Path, tokenizer: Tokenizer):
    lengths = [5, 5_000_000, 1, 3_000_000, 2]
    flat = np.full(sum(lengths), 7, np.uint16)
    flat[np.cumsum(lengths) - 1] = END_OF_DOCUMENT
    flat.tofile(tmp_path / "raw.npy")
    run(tokenizer, tmp_path, [tmp_path / "raw.npy"], dtype="uint16")
    shard = TokenShard.open(tmp_path / "out")
    assert shard.lengths.tolist() == lengths
    assert np.array_equal(shard.tokens(0, shard.num_tokens), flat)


@pytest.mark.parametrize("value", [-1, VOCABULARY, 2**40])
def test_a_token_outside_the_vocabulary_is_named(tmp_path: Path, tokenizer: Tokenizer, value: int):
    np.save(tmp_path / "a.npy", np.array([5, END_OF_DOCUMENT, value, END_OF_DOCUMENT]))
    with pytest.raises(DataError, match=rf"a\.npy: token 2 is {value}"):
        run(tokenizer, tmp_path, [tmp_path / "a.npy"])


def test_a_shard_that_is_there_is_replaced_only_on_demand(tmp_path: Path, tokenizer: Tokenizer):
    np.save(tmp_path / "a.npy", np.array([5, END_OF_DOCUMENT]))
    first = run(tokenizer, tmp_path, [tmp_path / "a.npy"])
    with pytest.raises(DataError, match="a shard is there already"):
        run(tokenizer, tmp_path, [tmp_path / "a.npy"])
    assert run(tokenizer, tmp_path, [tmp_path / "a.npy"], is_replacing=True) == first
    with pytest.raises(DataError, match="is the data set that is read"):
        run(tokenizer, tmp_path, [tmp_path / "out"], is_replacing=True)


def test_refused_input_leaves_nothing_behind(tmp_path: Path, tokenizer: Tokenizer):
    right = [5, END_OF_DOCUMENT] * 400_000  # more than is held before it is written
    np.save(tmp_path / "a.npy", np.array([*right, VOCABULARY, END_OF_DOCUMENT]))
    before = set(tmp_path.iterdir())
    with pytest.raises(DataError, match=f"token 800000 is {VOCABULARY}"):
        run(tokenizer, tmp_path, [tmp_path / "a.npy"])
    assert set(tmp_path.iterdir()) == before


def test_command(tmp_path: Path, tokenizer: Tokenizer):
    documents = ended_documents()
    (tmp_path / "parts").mkdir()
    np.save(tmp_path / "parts" / "a.npy", np.array([t for d in documents for t in d]))
    arguments = [
        *("import", str(tmp_path / "parts"), "--tokenizer", str(tokenizer.path)),
        *("--source", "text", "--out", str(tmp_path / "out"), "--json"),
    ]
    dry = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert json.loads(dry.stdout)["would_read"] == [str(tmp_path / "parts" / "a.npy")]
    done = CliRunner().invoke(app, arguments)
    assert json.loads(done.stdout)["num_documents"] == len(documents)
    assert documents_of(tmp_path / "out") == documents
    (tmp_path / "empty").mkdir()
    refused = CliRunner().invoke(app, ["import", str(tmp_path / "empty"), *arguments[2:]])
    assert isinstance(refused.exception, DataError)


@pytest.mark.parametrize(("stored", "said"), [("uint32", "uint16"), ("int64", "int32")])
def test_numbers_read_as_too_narrow_ones_are_refused(
    tmp_path: Path, tokenizer: Tokenizer, stored: str, said: str
):
    """Each would be read as two, the second of them 0."""
    tokens = np.array([5, 6, 7, tokenizer.end_of_document_id] * 9, stored)
    tokens.tofile(tmp_path / "raw.npy")
    with pytest.raises(DataError, match=f"raw.npy: every second number is 0 when read as {said}"):
        run(tokenizer, tmp_path, [tmp_path / "raw.npy"], dtype=said)
    assert run(tokenizer, tmp_path, [tmp_path / "raw.npy"], dtype=stored).num_documents == 9


def test_a_type_that_cannot_hold_the_vocabulary_is_refused(tmp_path: Path, tokenizer: Tokenizer):
    np.array([5, 6], np.int8).tofile(tmp_path / "raw.npy")
    with pytest.raises(DataError, match="--dtype int8 holds numbers up to 127"):
        run(tokenizer, tmp_path, [tmp_path / "raw.npy"], dtype="int8")


def test_a_type_that_contradicts_the_files_own_is_refused(tmp_path: Path, tokenizer: Tokenizer):
    np.save(tmp_path / "own.npy", np.array([5, tokenizer.end_of_document_id], np.int64))
    with pytest.raises(DataError, match=r"own\.npy: says that its tokens are int64, not uint16"):
        run(tokenizer, tmp_path, [tmp_path / "own.npy"], dtype="uint16")
