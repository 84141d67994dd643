"""Bytes that autograd keeps of one transformer layer between a microbatch's forward and backward
pass.

Counted tensor by tensor from the code of `mcore`, a storage that several operations share once, and
checked against what autograd keeps there (tests/distributed/test_activation_memory.py). Published
formulas (arXiv 2205.05198, table 2) are of other kernels: dropout, kept scores, GeLU.
"""

from dataclasses import dataclass
from typing import Literal

from megatron_codemix.config.schema import Fp8Config
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory.sizes import RankSizes, rank_sizes

FP32 = 4
INDEX = 8
"""Bytes of the number of a token."""

_MLP_TENSORS = {"swiglu": 3, "geglu": 5, "gelu": 2}
"""Tensors of the MLP's width that are kept, the second matrix's input among them. A gated pair
counts twice; megatron-core's GEGLU keeps the opened gate and the other half as well."""

_EXPERT_TENSORS = {"swiglu": 6, "geglu": 6, "gelu": 3}
"""The same of an expert: what is weighted by the router is kept before and after."""


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """What decides how much the same model keeps on different devices."""

    attention: Literal["flash", "dense"]
    """`flash`: one number for each row of the scores is kept. `dense`: the scores, the square of
    the sequence for each head, and all in fp32 with keys and values for each head (torch's
    reference path, which takes what no kernel does)."""
    fused_rms_norm: bool
    """Whether RMSNorm keeps its input and one number for each token, as LayerNorm does everywhere,
    or the results of two of its steps, in fp32."""
    holds_sent_output: bool
    """Whether a pipeline stage keeps what it has sent: gloo reads it later, a GPU in the order of
    its stream (`deallocate_pipeline_outputs`)."""
    keeps_opened_gate: bool
    """Whether SwiGLU keeps silu(gate) beside its input (`mcore/kernels.py`)."""
    masks_parts: bool
    """Whether attention of a part of a sequence takes a mask, which is kept (`mcore/layers.py`)."""
    repeats_groups: bool
    """Whether keys and values of grouped queries are repeated for each head in fp32 and under a
    document mask, where no kernel knows groups (`attend_on_gpu` there)."""


GPU = Kernels(
    attention="flash",
    fused_rms_norm=True,
    holds_sent_output=False,
    keeps_opened_gate=False,
    masks_parts=False,
    repeats_groups=True,
)
"""torch's flash attention and fused norms."""
CPU = Kernels(
    attention="flash",
    fused_rms_norm=False,
    holds_sent_output=True,
    keeps_opened_gate=True,
    masks_parts=True,
    repeats_groups=False,
)
"""torch's kernels for host processors, which have flash attention too."""


@dataclass(frozen=True, kw_only=True)
class LayerActivations:
    """One layer of a job, not recomputed as a whole."""

    job: Job
    sizes: RankSizes
    kernels: Kernels
    fp8: Literal["engine", "own"] | None
    """Whose FP8 its matrices multiply in."""
    recomputed: frozenset[str]
    """Its modules that are."""

    @classmethod
    def of(cls, job: Job, kernels: Kernels, *, in_fp8: bool) -> "LayerActivations":
        """A layer of the job that multiplies in FP8, or one that does not."""
        layout, precision = job.layout, job.precision
        fp8: Literal["engine", "own"] | None = None
        if in_fp8 and isinstance(precision, Fp8Config):
            fp8 = "engine" if precision.is_engines else "own"
        modules = layout.recompute_modules if layout.recompute == "selective" else []
        return cls(
            job=job,
            sizes=rank_sizes(job),
            kernels=kernels,
            fp8=fp8,
            recomputed=frozenset(modules),
        )

    def kept(self) -> int:
        """Bytes of a microbatch. The layer's input counts, its output belongs to the next one."""
        if self.job.model.block == "parallel":
            return self._input_of_both() + self._attention() + self._mlp()
        norms = 2 * self.norm_of_stream()
        branches = self._input_of_matrix() + self._attention() + self.mlp_branch()
        return norms + branches

    def norm_of_stream(self) -> int:
        """What a norm of the residual stream keeps, its input among it."""
        return self._norm(self.sizes.stream_tokens, self.sizes.hidden)

    def _norm(self, rows: int, width: int) -> int:
        if self._norms_are_fused:
            return rows * (width * self.sizes.element + FP32)
        return rows * (2 * width + 1) * FP32

    @property
    def _norms_are_fused(self) -> bool:
        return self.kernels.fused_rms_norm or self.job.model.normalization != "rmsnorm"

    def _head_norms(self) -> int:
        """Of queries and keys. Keys are a view of the product that made them: what keeps them as
        they are keeps all of it."""
        sizes = self.sizes
        heads = sizes.queries // sizes.head, sizes.keys // sizes.head
        kept = sum(self._norm(sizes.tokens * number, sizes.head) for number in heads)
        is_input_kept = self._norms_are_fused or sizes.element == FP32
        if is_input_kept and "core_attn" not in self.recomputed:  # else it is kept for the values
            kept += sizes.of_tokens(sizes.queries + sizes.keys)
        return kept

    def _input_of_matrix(self) -> int:
        """Normalised stream, input of queries, keys and values or of the MLP. It is gathered anew
        in the backward pass where sequence parallelism has split it."""
        sizes = self.sizes
        match self.fp8:
            case "engine":
                return sizes.stream_tokens * sizes.hidden
            case "own":
                return sizes.tokens * sizes.hidden
            case None:
                return sizes.stream

    def _input_of_both(self) -> int:
        """The parallel block's input, and what both of its branches read: gathered under sequence
        parallelism, and kept so."""
        if self.fp8 is not None:
            return self.norm_of_stream() + 2 * self._input_of_matrix()
        if "layernorm" in self.recomputed:
            return self.sizes.stream
        return self.norm_of_stream() + self.sizes.of_tokens(self.sizes.hidden)

    def _attention(self) -> int:
        sizes = self.sizes
        # Cosines and sines of queries and of keys.
        rotation = 4 * sizes.sequence // sizes.context * sizes.head * sizes.element
        kept = rotation + self._input_of_output_matrix()
        if self.job.model.qk_norm:
            kept += self._head_norms()
        if "core_attn" in self.recomputed:
            # Values are a view of the product that made them, which is kept whole.
            return kept + sizes.of_tokens(2 * sizes.queries + 3 * sizes.keys)
        return kept + self._core_attention()

    def _core_attention(self) -> int:
        """Queries, keys, values, and what the kernel needs of scores and output."""
        sizes = self.sizes
        keys = sizes.sequences * self._pieces * self._piece
        if self.kernels.attention == "dense":
            return FP32 * (self.scores + (sizes.tokens + 2 * keys) * sizes.queries)
        tensors = 2 * sizes.tokens * sizes.queries + 2 * keys * self.attended_keys
        masks = self._num_masks * self._pieces * self._piece**2
        return FP32 * sizes.tokens * sizes.num_heads + (tensors + masks) * sizes.element

    @property
    def attended_keys(self) -> int:
        """Width of the keys that the kernel is given, and of the values."""
        sizes = self.sizes
        knows_groups = sizes.element != FP32 and not self.job.document_mask
        repeats = self.kernels.repeats_groups and not knows_groups
        return sizes.queries if repeats else sizes.keys

    @property
    def _num_masks(self) -> int:
        """Squares that each layer makes of its mask, in the format of the queries: one for each
        sample, or where it is causal one for all."""
        if self.job.document_mask:
            return self.sizes.sequences
        return int(self.sizes.context > 1 and self.kernels.masks_parts)

    @property
    def scores(self) -> int:
        """Numbers in the scores of all heads, if they are made."""
        sizes = self.sizes
        return sizes.sequences * sizes.num_heads * self._pieces * self._piece**2

    @property
    def _piece(self) -> int:
        """Tokens of a sample that attend at once. Context-parallel ranks have two pieces, one from
        each end."""
        return self.sizes.sequence // (2 * self.sizes.context if self.sizes.context > 1 else 1)

    @property
    def _pieces(self) -> int:
        """Pieces of keys that they see in all: from the first to the end of each piece of queries,
        which comes to the same on every rank."""
        return 2 * self.sizes.context + 1 if self.sizes.context > 1 else 1

    def _input_of_output_matrix(self) -> int:
        """Of the attention, in the order of memory that the matrix takes: a copy of its output."""
        sizes, precision = self.sizes, self.job.precision
        is_eight_bit = self.fp8 == "own" or (
            # With the other recipes megatron-core has Transformer Engine keep the original.
            self.fp8 == "engine" and getattr(precision, "recipe", None) == "delayed"
        )
        return sizes.tokens * sizes.queries * (1 if is_eight_bit else sizes.element)

    def mlp_branch(self) -> int:
        """Of the sequential block, from the normalised stream on."""
        if self.recomputed & {"mlp", "moe"}:
            return self.sizes.stream
        if self.job.model.moe is not None:
            return self.sizes.stream + self._experts()
        return self._input_of_matrix() + self._mlp()

    @property
    def mlp_tensors(self) -> int:
        """Tensors of the MLP's width that are kept, the second matrix's input among them."""
        model = self.job.model
        # Experts have megatron-core's SwiGLU, which keeps the opened gate on every device.
        is_opened = self.kernels.keeps_opened_gate or model.moe is not None
        return _MLP_TENSORS[model.activation] + int(model.activation == "swiglu" and is_opened)

    def _mlp(self) -> int:
        """Inside the dense MLP."""
        if "mlp" in self.recomputed:
            return 0
        sizes = self.sizes
        tensors = self.mlp_tensors - 1
        last = sizes.element if self.fp8 is None else 1
        return sizes.tokens * sizes.mlp * (tensors * sizes.element + last)

    def _experts(self) -> int:
        """Inside the mixture, tokens spread evenly over the experts."""
        sizes, moe = self.sizes, self.job.model.moe
        assert moe is not None
        routed = sizes.stream_tokens * moe.top_k
        tensors = _EXPERT_TENSORS[self.job.model.activation]
        of_expert = (sizes.hidden + tensors * sizes.mlp) * sizes.element
        router = sizes.stream_tokens * moe.num_experts * _ROUTER_TENSORS * FP32
        return routed * (of_expert + 2 * INDEX) + router


_ROUTER_TENSORS = 4
"""Numbers of each token and expert that the router keeps, in fp32."""
