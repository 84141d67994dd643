"""Sizes of one rank's part of a microbatch and of a layer, of which all formulas are made."""

from dataclasses import dataclass

from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.planner.job import Job


@dataclass(frozen=True, kw_only=True)
class RankSizes:
    """Of a rank; widths of heads and MLP are its share under tensor parallelism."""

    sequences: int
    """Samples of a microbatch."""
    sequence: int
    """Tokens of a sample, over all context-parallel ranks."""
    tokens: int
    """Of a microbatch, where layers multiply."""
    stream_tokens: int
    """Of a microbatch, between the layers' halves: under sequence parallelism a rank's share."""
    context: int
    hidden: int
    head: int
    num_heads: int
    queries: int
    """Width of all query heads."""
    keys: int
    """Width of all key heads, and of all value heads."""
    mlp: int
    """Width inside the MLP or, whole, inside one expert."""
    vocabulary: int
    """Rows of a table, with padding."""
    element: int
    """Bytes of an activation."""

    @property
    def stream(self) -> int:
        """Bytes of the residual stream."""
        return self.stream_tokens * self.hidden * self.element

    def of_tokens(self, width: int) -> int:
        """Bytes of an activation of this width where layers multiply."""
        return self.tokens * width * self.element


def rank_sizes(job: Job) -> RankSizes:
    """Sizes of every rank of the job; they are the same in all of them."""
    model, layout = job.model, job.layout
    head = model.head_dim or model.hidden_size // model.num_attention_heads
    groups = model.num_query_groups or model.num_attention_heads
    tokens = job.microbatch_tokens // layout.context
    return RankSizes(
        sequences=layout.microbatch_sequences,
        sequence=job.sequence_length,
        tokens=tokens,
        stream_tokens=tokens // layout.tensor if layout.sequence_parallel else tokens,
        context=layout.context,
        hidden=model.hidden_size,
        head=head,
        num_heads=model.num_attention_heads // layout.tensor,
        queries=model.num_attention_heads * head // layout.tensor,
        keys=groups * head // layout.tensor,
        mlp=model.ffn_hidden_size // (1 if model.moe else layout.tensor),
        vocabulary=padded_vocabulary_size(model.vocabulary_size) // layout.tensor,
        element=4 if job.precision.model_format == "fp32" else 2,
    )
