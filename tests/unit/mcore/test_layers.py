import warnings

import numpy as np
import pytest
import torch

import megatron_codemix.mcore  # noqa: F401  # installs the CPU meaning of torch.cuda first
from megatron_codemix.mcore.layers import SdpaCoreAttention, document_attention_mask

LENGTHS = [530, 1, 700, 69]
"""Longer than the blocks of torch's kernel (512 keys), so that whole blocks of it are masked."""


@pytest.fixture
def attention():
    from megatron.core.transformer.transformer_config import TransformerConfig

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # megatron-core warns of its own default
        config = TransformerConfig(num_layers=1, hidden_size=32, num_attention_heads=4)
    return SdpaCoreAttention(config, 1, None, "self")


def random_heads(seed, num_heads=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sum(LENGTHS), 1, num_heads, 8, generator=generator)


def test_each_document_of_a_long_sample_attends_as_if_alone(attention):
    query, key, value = random_heads(0), random_heads(1, 2), random_heads(2, 2)
    documents = torch.repeat_interleave(torch.arange(4), torch.tensor(LENGTHS))
    together = attention(query, key, value, document_attention_mask(documents[None]))
    for start, length in zip(np.cumsum([0, *LENGTHS]), LENGTHS, strict=False):
        one = slice(start, start + length)
        alone = attention(query[one], key[one], value[one], None)
        torch.testing.assert_close(together[one], alone)


def test_values_of_other_documents_do_not_reach_a_long_document(attention):
    query, key, value = random_heads(0), random_heads(1), random_heads(2)
    documents = torch.repeat_interleave(torch.arange(4), torch.tensor(LENGTHS))
    mask = document_attention_mask(documents[None])
    before = attention(query, key, value, mask)
    is_changed = documents == 0
    key[is_changed], value[is_changed] = 1e4, -1e4
    after = attention(query, key, value, mask)
    assert torch.equal(after[~is_changed], before[~is_changed])
    assert not torch.equal(after[is_changed], before[is_changed])
    assert not torch.equal(attention(query, key, value), before)
