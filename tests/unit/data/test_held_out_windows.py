"""Windows over held-out documents: each token is predicted once, from what stands before it."""

from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.data.held_out_windows import choose_documents, cut_document
from megatron_codemix.data.shards.token_shard import TokenShard
from tests.helpers.tiny import END_OF_DOCUMENT, write_shard


@pytest.fixture
def shard(tmp_path: Path) -> TokenShard:
    documents = [np.arange(n) % 250 for n in (1, 15, 16, 17, 50)]
    write_shard(tmp_path / "held", documents, tokenizer="t")
    return TokenShard.open(tmp_path / "held")


@pytest.mark.parametrize("document", range(5))
def test_each_token_is_a_label_once_after_its_predecessor(shard: TokenShard, document: int) -> None:
    windows = cut_document(shard, document, sequence_length=16, max_tokens=1000)
    body = shard.document(document)[:-1]
    assert np.array_equal(np.concatenate([w.labels for w in windows]), body)
    before = np.append(END_OF_DOCUMENT, body[:-1])
    assert np.array_equal(np.concatenate([w.inputs for w in windows]), before)
    assert all(len(w.inputs) == len(w.labels) <= 16 for w in windows)


def test_a_long_document_counts_with_its_first_tokens(shard: TokenShard) -> None:
    windows = cut_document(shard, 4, sequence_length=16, max_tokens=20)
    assert sum(len(w.labels) for w in windows) == 20


def test_documents_are_chosen_up_to_the_budget() -> None:
    assert choose_documents([10, 10, 10], max_bytes=25) == 2
    assert choose_documents([10, 10, 10], max_bytes=30) == 3
    assert choose_documents([10, 10, 10], max_bytes=5) == 1
