"""Labels and loss mask of conversations, token by token, beside a slow construction of them.

Each row is made anew from the conversations: `transformers` renders and encodes them and says which
tokens are the assistant's; the trace says which tokens of which conversation a row holds.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatron_codemix.corpus.instructions.template import CHATML
from megatron_codemix.data.answers import pack_conversations
from megatron_codemix.data.batches import Batch, allocate_batch
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.loading.dali import DaliLoader
from megatron_codemix.data.mixture.plan import constant_plan, megatron_plan
from megatron_codemix.data.preparation.prepare import prepare_corpus
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.source import SourceSpec
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.files import read_jsonl
from tests.helpers.conversations import (
    random_chats,
    transformers_tokenizer,
    transformers_tokens,
    write_conversations,
    write_merging_tokenizer,
)

LENGTH = 128
SOURCES = {"code": 250, "text": 150}
"""Conversations of each."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of two sources, their tokenizer, and a shard of other documents."""
    folder = tmp_path_factory.mktemp("chats")
    write_merging_tokenizer(folder / "tokenizer.json")
    for seed, (source, count) in enumerate(SOURCES.items()):
        chats = random_chats(count, seed, longest=30)
        # Some whose first answer lies behind a sample's end.
        for chat in chats[::25]:
            chat[-2]["content"] *= 40
        write_conversations(folder / "corpus", source, chats)
    (folder / "corpus" / "prose.jsonl").write_text('{"text": "' + "Some words. " * 500 + '"}\n')
    prepare_corpus(folder / "corpus", folder / "tokenizer.json", folder, validation_fraction=0.0)
    return folder


def chats_of(folder: Path, source: str) -> list[list[dict[str, str]]]:
    return [one["messages"] for one in read_jsonl(folder / f"{source}.chats.jsonl")]


@pytest.fixture(scope="module")
def documents(folder: Path) -> dict[tuple[str, int], tuple[list[int], list[int]]]:
    """(source, number in the shard) -> tokens, and which of them are learned, of transformers."""
    tokenizer = transformers_tokenizer(folder / "tokenizer.json", CHATML)
    found = {}
    for source in SOURCES:
        chats = chats_of(folder, source)
        lines = read_jsonl(shard_file(folder / f"{source}.train", ".documents.jsonl"))
        for number, line in enumerate(lines):
            tokens, mask = transformers_tokens(tokenizer, chats[int(line["id"])])
            found[source, number] = ([*tokens, tokenizer.eos_token_id], [*mask, 1])
    return found


def open_dataset(folder: Path, **options: Any) -> MixtureDataset:
    packing, order = options.pop("packing", None), options.pop("order", "stateless")
    specs = [SourceSpec(name, folder / f"{name}.train", packing) for name in SOURCES]
    plan = constant_plan({"code": 655_360, "text": 393_216})  # 5 to 3, of 2^20
    if order == "megatron":
        plan = megatron_plan({"code": 0.625, "text": 0.375}, 300)
    asked = {"sequence_length": LENGTH, "seed": 7, "document_mask": True, "answers_only": True}
    return MixtureDataset(specs, plan, **(asked | options))


KINDS = {
    "windows": {},
    "windows, open": {"document_mask": False},
    "best fit": {"packing": "best_fit"},
    "best fit, open": {"packing": "best_fit", "document_mask": False},
    "megatron": {"order": "megatron"},
    "three threads": {"packing": "best_fit", "num_threads": 3},
}


def slow_row(
    dataset: MixtureDataset, sample: int, documents: dict[tuple[str, int], Any]
) -> Iterator[tuple[int, int, bool, int]]:
    """(input, label, learned, document) of a sample, one token after another, without padding."""
    tokens = [
        (span.document, *(part[place] for part in documents[span.source, span.document]))
        for span in dataset.documents(sample)
        for place in range(span.first_token, span.last_token + 1)
    ]
    for before, after in pairwise(tokens):
        yield before[1], after[1], bool(after[2]), after[0]


@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_mask_are_those_of_a_slow_construction(
    folder: Path, documents: dict[tuple[str, int], Any], kind: str
) -> None:
    dataset = open_dataset(folder, **KINDS[kind])
    samples = np.arange(300 if "megatron" in kind else 1 + max(dataset.samples_per_epoch.values()))
    batch = dataset.batch(samples)
    num_learned = num_padded = 0
    for row, sample in enumerate(samples.tolist()):
        wanted = list(slow_row(dataset, sample, documents))
        size = len(wanted)
        assert 0 < size <= LENGTH
        inputs, labels, learned, owners = map(list, zip(*wanted, strict=True))
        assert batch.tokens[row, :size].tolist() == inputs
        assert batch.labels[row, :size].tolist() == labels
        assert batch.loss_mask[row].tolist() == learned + [False] * (LENGTH - size)
        if batch.document_ids is not None:
            assert batch.document_ids[row].tolist() == owners + [-1] * (LENGTH - size)
        num_learned += sum(learned)
        num_padded += LENGTH - size
    assert 0 < num_learned < 0.8 * batch.labels.size
    assert (num_padded > 0) == ("best fit" in kind or kind == "three threads")


def test_packing_takes_each_conversation_once_from_its_beginning(
    folder: Path, documents: dict[tuple[str, int], Any]
) -> None:
    dataset = open_dataset(folder, packing="best_fit")
    [number] = [n for n, name in enumerate(dataset.source_names) if name == "code"]
    rows = dataset.samples_per_epoch["code"]
    read: Counter[int] = Counter()
    ends = {}
    sample = draws = 0
    while draws < rows:
        if dataset.mixture.locate(sample)[0] == number:
            draws += 1
            opening, *spans = dataset.documents(sample)
            tokens, _ = documents["code", opening.document]
            assert opening.last_token == len(tokens) - 1, "an end of a document opens a sample"
            for span in spans:
                assert span.first_token == 0
                read[span.document] += 1
                ends[span.document] = span.last_token + 1
        sample += 1
    of_code = {n: one for (source, n), one in documents.items() if source == "code"}
    kept = {n for n, (tokens, learned) in of_code.items() if any(learned[:LENGTH])}
    assert read == Counter(kept)
    assert ends == {n: min(LENGTH, len(of_code[n][0])) for n in kept}
    packed = dataset.packed_conversations["code"]
    assert packed.num_cut == sum(len(tokens) > LENGTH for tokens, _ in of_code.values()) > 20
    assert packed.num_left_out == len(of_code) - len(kept) > 0
    np.testing.assert_array_equal(packed.lengths > 0, [n in kept for n in range(len(of_code))])


def test_every_packed_sample_has_something_to_learn(folder: Path) -> None:
    dataset = open_dataset(folder, packing="best_fit")
    batch = dataset.batch(range(400))
    assert (batch.loss_mask.sum(axis=1) > 0).all()


def test_a_shard_without_long_conversations_is_packed_as_it_is(folder: Path) -> None:
    shard = TokenShard.open(folder / "code.train")
    packed = pack_conversations(shard, int(shard.lengths.max()))
    assert (packed.num_cut, packed.num_left_out) == (0, 0)
    np.testing.assert_array_equal(packed.lengths, shard.lengths)


def test_where_all_is_learned_the_answers_change_nothing(folder: Path) -> None:
    for packing in (None, "best_fit"):
        dataset = open_dataset(folder, packing=packing, answers_only=False, document_mask=False)
        batch = dataset.batch(range(200))
        assert dataset.packed_conversations == {}
        assert batch.loss_mask.mean() > 0.9


@pytest.mark.parametrize("kind", ["windows", "windows, open", "best fit"])
def test_a_used_buffer_is_as_good_as_a_new_one(folder: Path, kind: str) -> None:
    dataset = open_dataset(folder, **KINDS[kind])
    buffer = dataset.batch(range(8))
    for start in (8, 16, 24):
        samples = range(start, start + 8)
        dataset.batch(samples, into=buffer)
        for name, array in vars(dataset.batch(samples)).items():
            np.testing.assert_array_equal(getattr(buffer, name), array, name)


def test_dali_hands_on_the_same_mask(folder: Path) -> None:
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI (extra `dali`) is not installed")
    dataset = open_dataset(folder, packing="best_fit")

    def fill(step: int, batches: list[Batch]) -> None:
        for number, batch in enumerate(batches):
            dataset.batch(range(4 * step + 2 * number, 4 * step + 2 * number + 2), into=batch)

    buffers = [allocate_batch(2, LENGTH, with_documents=True) for _ in range(2)]
    loader = DaliLoader(range(5), fill, buffers, token_dtype=np.uint16, device_id=None, depth=2)
    for step in range(5):
        for number, batch in enumerate(loader.take()):
            first = 4 * step + 2 * number
            wanted = dataset.batch(range(first, first + 2))
            for name in ("labels", "loss_mask", "document_ids", "position_ids"):
                np.testing.assert_array_equal(getattr(batch, name), getattr(wanted, name), name)
    loader.close()


def test_sources_that_hold_no_conversations_are_refused(folder: Path) -> None:
    specs = [SourceSpec(name, folder / f"{name}.train") for name in ("code", "prose")]
    plan = constant_plan({"code": 524_288, "prose": 524_288})
    with pytest.raises(DataError, match=r"prose.train: holds no answers"):
        MixtureDataset(specs, plan, sequence_length=LENGTH, seed=1, answers_only=True)


def test_a_transform_is_refused(folder: Path) -> None:
    class Nothing:
        def apply(self, tokens: Any, documents: Any, cursor: int) -> Any:
            raise AssertionError

    spec = SourceSpec("code", folder / "code.train", transform=Nothing())
    with pytest.raises(DataError, match="source 'code': has a transform"):
        MixtureDataset(
            [spec], constant_plan({"code": 1 << 20}), sequence_length=LENGTH, seed=1,
            answers_only=True,
        )  # fmt: skip


def without_space(text: str) -> str:
    """A token of two line ends may lie over the edge of an answer, and is learned then."""
    return "".join(text.split())


def test_learned_text_is_what_the_assistant_said(folder: Path) -> None:
    """Seen from the other side: decoded, the learned tokens of an epoch are the answers."""
    longest = max(int(TokenShard.open(folder / f"{name}.train").lengths.max()) for name in SOURCES)
    dataset = open_dataset(folder, packing="best_fit", sequence_length=longest)
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    said: Counter[str] = Counter()
    for source in SOURCES:
        for chat in chats_of(folder, source):
            answers = [one["content"] for one in chat if one["role"] == "assistant"]
            said.update([without_space("<|im_end|>".join([*answers, ""]))])
    found: Counter[str] = Counter()
    remaining = dict(dataset.samples_per_epoch)
    sample = 0
    while any(remaining.values()):
        source, cursor = dataset.locate(sample)
        if cursor < dataset.samples_per_epoch[source]:
            remaining[source] -= 1
            batch = dataset.batch([sample])
            text = tokenizer.decode(batch.labels[0][batch.loss_mask[0] == 1])
            found.update(map(without_space, text.split("<|endoftext|>")[:-1]))
        sample += 1
    assert found == said
