"""Batch, learning rate, warmup and Adam's second moment of a model that is one of a ladder.

By size alone, so that one training serves all token budgets of a size. Porian et al., "Resolving
Discrepancies in Compute-Optimal Scaling of Language Models" (arXiv 2406.19146), as AI2's ladders
use them (arXiv 2412.04403, 2504.11393): their N counts the output matrix and not the input table.
"""

from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.schema import ModelConfig

_BASE_PARAMETERS = 108e6
_BASE_BATCH_SEQUENCES = 160.0
_BASE_SEQUENCE_LENGTH = 2048
_BASE_LEARNING_RATE = 4.7e-3
_STABLE_FACTOR = 0.5
_LARGE_BATCH_TOKENS = 2**19


def rule_parameters(model: ModelConfig) -> int:
    """Parameters as the rules count them: all but the input table where that is one of its own."""
    total = count_parameters(model, model.vocabulary_size)
    table = model.vocabulary_size * model.hidden_size
    return total if model.tie_embeddings else total - table


def body_parameters(model: ModelConfig) -> int:
    """Parameters without embedding and output tables."""
    tables = model.vocabulary_size * model.hidden_size * (1 if model.tie_embeddings else 2)
    return count_parameters(model, model.vocabulary_size) - tables


def batch_sequences(parameters: float, sequence_length: int, multiple_of: int = 1) -> int:
    """Sequences of a step: 160 (N / 108M)^(2/3) of 2,048 tokens, as many tokens at other lengths;
    rounded to a multiple, at least one."""
    sequences: float = _BASE_BATCH_SEQUENCES * (parameters / _BASE_PARAMETERS) ** (2 / 3)
    sequences *= _BASE_SEQUENCE_LENGTH / sequence_length
    return multiple_of * max(1, round(sequences / multiple_of))


def peak_learning_rate(parameters: float) -> float:
    """For cosine schedules at sequences of 2,048 tokens: 0.0047 (N / 108M)^(-1/3)."""
    rate: float = _BASE_LEARNING_RATE * (parameters / _BASE_PARAMETERS) ** (-1 / 3)
    return rate


def stable_learning_rate(parameters: float) -> float:
    """For a rate that stays up until its decay: half of the cosine's peak (OLMo-core's ladder,
    `WSDSChinchillaRunConfigurator`)."""
    return _STABLE_FACTOR * peak_learning_rate(parameters)


def warmup_tokens(parameters: int) -> int:
    """As many tokens as parameters."""
    return parameters


def second_moment_decay(batch_tokens: int) -> float:
    """Adam's beta2: 0.95, and 0.99 for batches below 2^19 tokens, whose gradients are noisier."""
    return 0.95 if batch_tokens >= _LARGE_BATCH_TOKENS else 0.99
