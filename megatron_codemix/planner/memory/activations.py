"""Activations of a rank: what is kept of the microbatches in flight, and what a backward pass and
the loss need beside that."""

from dataclasses import dataclass
from functools import cached_property

from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory.backward import backward_bytes
from megatron_codemix.planner.memory.layer import FP32, INDEX, Kernels, LayerActivations
from megatron_codemix.planner.memory.parameters import layers_in_fp8, table_parameters
from megatron_codemix.planner.memory.pipeline import Chunk, chunks_of_stage
from megatron_codemix.planner.memory.sizes import RankSizes, rank_sizes


@dataclass(frozen=True, kw_only=True)
class StageActivations:
    """Bytes of one rank of a pipeline stage."""

    kept: int
    """From forward to backward passes, of all microbatches in flight, without the logits."""
    working: int
    """While a layer's backward pass runs, or that of the embedding."""
    loss: int
    """While the loss is computed, when no layer is; 0 but on the last stage."""


@dataclass(frozen=True)
class Activations:
    """Of one job, as its stages ask for them."""

    job: Job
    kernels: Kernels

    @cached_property
    def sizes(self) -> RankSizes:
        return rank_sizes(self.job)

    @cached_property
    def plain(self) -> LayerActivations:
        return LayerActivations.of(self.job, self.kernels, in_fp8=False)

    @cached_property
    def _layer(self) -> dict[bool, int]:
        """Bytes of a layer in FP8 (True) and of another."""
        return {
            in_fp8: LayerActivations.of(self.job, self.kernels, in_fp8=in_fp8).kept()
            for in_fp8 in (False, True)
        }

    @cached_property
    def _backward(self) -> int:
        """Bytes that the backward pass of a layer works with."""
        return backward_bytes(self.plain)

    def of_stage(self, stage: int) -> StageActivations:
        """Of a rank of the pipeline stage `stage`, from 0."""
        chunks = chunks_of_stage(self.job, stage)
        return StageActivations(
            kept=sum(chunk.in_flight * self._held(chunk) for chunk in chunks),
            working=max(self._working(chunk) for chunk in chunks),
            loss=self._loss() if chunks[-1].has_loss else 0,
        )

    def kept(self, chunk: Chunk) -> int:
        """Bytes that autograd keeps of one microbatch, without the softmax of the logits."""
        kept = self._kept_by_layers(chunk) + self._mask()
        if chunk.has_embedding:
            kept += 2 * self.sizes.tokens * INDEX
        if chunk.has_loss:  # the last norm, and the input of the output layer
            kept += self.plain.norm_of_stream() + self.sizes.stream
        return kept

    @cached_property
    def softmax(self) -> int:
        """Bytes of what the cross-entropy keeps: the softmax over this rank's part of the
        vocabulary, in fp32, and where the labels are in it."""
        return self.sizes.tokens * (self.sizes.vocabulary * FP32 + 2 * INDEX)

    def _mask(self) -> int:
        """Bytes of a document mask where attention that is computed again keeps it, one each."""
        layout, sizes = self.job.layout, self.sizes
        is_kept = layout.recompute == "full" or "core_attn" in self.plain.recomputed
        if not (self.job.document_mask and is_kept):
            return 0
        return sizes.sequences * sizes.sequence**2 // sizes.context

    def _kept_by_layers(self, chunk: Chunk) -> int:
        layout, layers, sizes = self.job.layout, chunk.layers, self.sizes
        if layout.recompute != "full":
            return self._layers(layers)
        angles = sizes.sequence // sizes.context * sizes.head * FP32  # of the rotary embedding
        if layout.recompute_method == "uniform":
            return angles + -(-len(layers) // layout.recompute_layers) * sizes.stream
        recomputed, others = layers[: layout.recompute_layers], layers[layout.recompute_layers :]
        return angles + len(recomputed) * sizes.stream + self._layers(others)

    def _layers(self, layers: range) -> int:
        """Of layers that are not recomputed as a whole."""
        in_fp8 = layers_in_fp8(self.job, layers)
        return in_fp8 * self._layer[True] + (len(layers) - in_fp8) * self._layer[False]

    def _held(self, chunk: Chunk) -> int:
        """As `kept`, with the output where the schedule holds it until its gradient arrives."""
        is_held = self.kernels.holds_sent_output and not chunk.has_loss
        return self.kept(chunk) + (self.sizes.stream if is_held else 0)

    def _working(self, chunk: Chunk) -> int:
        """Of the fullest of the chunk's backward passes, beside all that is kept: what later layers
        have kept is free by then."""
        layout, layers, step = self.job.layout, chunk.layers, self._backward
        working = step
        if layout.recompute == "full" and layout.recompute_method == "uniform":
            working += self._layers(layers[: layout.recompute_layers]) - self.sizes.stream
        elif layout.recompute == "full":
            later = self._layers(layers[layout.recompute_layers :])
            again = self._layers(layers[:1]) - self.sizes.stream
            working = max(step if later else 0, step + again - later)
        table = table_parameters(self.job) * self.sizes.element
        if chunk.has_embedding:
            output = self.sizes.of_tokens(self.sizes.hidden)
            working = max(working, table + output - self._kept_by_layers(chunk))
        if chunk.has_embedding and chunk.has_loss and self.job.model.tie_embeddings:
            # autograd holds the table's gradient as output layer until it has that as embedding.
            working += table
        return working

    def _loss(self) -> int:
        """The larger of: logits beside their fp32 copy, which becomes the softmax and then their
        gradient; that gradient in the model's format beside those of the output layer."""
        sizes = self.sizes
        logits = sizes.of_tokens(sizes.vocabulary)
        copied = self.job.precision.model_format != "fp32" or self.job.model.z_loss is not None
        of_loss = self.softmax + (logits if copied else 0)
        of_layer = logits + table_parameters(self.job) * sizes.element
        return max(of_loss, of_layer + sizes.of_tokens(sizes.hidden))
