"""This rank's part of the model in inference, and what passes between pipeline stages.

megatron-core's own inference contexts assume CUDA, one position for all rows of a batch, and logits
of all places. Here the parts of its GPTModel are called one by one, so that each row has positions
of its own and the vocabulary is multiplied only where somebody asks.

In a mixture of experts no token is dropped, as its router has no capacity: other rows and padding
change nothing but rounding there too.

Shapes: S places, B rows, N places asked for, V this rank's part of the padded vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed

from megatron_codemix.backend.devices import Backend
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.kernels import Turns
from megatron_codemix.mcore.layers import SdpaCoreAttention
from megatron_codemix.mcore.model import Model, direct_calls, gpt_of


class Inputs(NamedTuple):
    """Of one forward pass, the same on every rank of a copy of the model."""

    tokens: torch.Tensor
    """[B, S]."""
    positions: torch.Tensor | None = None
    """[B, S]; None: each row counts from 0."""
    is_hidden: torch.Tensor | None = None
    """bool [B, 1, S, S], True where a place must not see another; None: plain causal attention."""


class Stage:
    """Layers of this pipeline stage, with embedding and vocabulary where it has them.

    max_length: positions run below it.
    """

    def __init__(
        self, model: Model, parallel: ModelParallel, backend: Backend, *, max_length: int
    ) -> None:
        self.gpt = gpt_of(model)
        self.parallel = parallel
        self.device = backend.device
        self.dtype = self.gpt.config.params_dtype
        self._angles = self.gpt.rotary_pos_emb(max_length)  # [max_length, 1, 1, D]

    @property
    def speaks(self) -> bool:
        """Whether this rank is the one of its copy of the model that decides and answers: the first
        that has the output."""
        return self.parallel.is_last_stage and self.parallel.tensor_rank == 0

    @property
    def cached_token_bytes(self) -> int:
        """Keys and values of one token in this stage's layers."""
        config = self.gpt.config
        groups = config.num_query_groups // self.parallel.tensor_size
        width = 2 * groups * config.kv_channels * len(self.gpt.decoder.layers)
        return int(width * self.dtype.itemsize)

    @property
    def attentions(self) -> list[SdpaCoreAttention]:
        """Of this stage's layers, in order."""
        return [layer.self_attention.core_attention for layer in self.gpt.decoder.layers]

    def forward(self, inputs: Inputs, received: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states [S, B, hidden]; of the last stage, normalised for the vocabulary.

        received: what the stage before gave; None on the first.
        """
        hidden = received
        with direct_calls(self.gpt):
            if received is None:
                hidden = self.gpt.embedding(inputs.tokens, inputs.positions)
            else:
                self.gpt.decoder.set_input_tensor(received)
            return self.gpt.decoder(
                hidden_states=hidden,
                attention_mask=inputs.is_hidden,
                rotary_pos_emb=self._rotation(inputs),
            )

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """fp32 [N, V] of [N, hidden], on the last stage; every tensor-parallel rank calls it."""
        gpt = self.gpt
        weight = None
        if gpt.share_embeddings_and_output_weights:
            weight = gpt.shared_embedding_or_output_weight()
        logits, _ = gpt.output_layer(hidden.unsqueeze(1), weight=weight)
        return logits.squeeze(1).float()

    def _rotation(self, inputs: Inputs) -> torch.Tensor | Turns:
        """Of the rotary embedding. Worked out once for all layers where `kernels.rotate` does it;
        megatron-core's rotation, of neighbours on a CPU, takes angles [S, 1 or B, 1, D]."""
        if inputs.positions is None:
            angles = self._angles[: inputs.tokens.shape[1]]
        else:
            angles = self._angles[:, 0][inputs.positions.T]
        config = self.gpt.config
        if not config.apply_rope_fusion:
            return angles
        return Turns.of(angles, self.dtype, config.rotary_interleaved)

    def run_all(self, batches: Sequence[Inputs]) -> Iterator[torch.Tensor]:
        """Hidden states of each batch in turn. Every rank of a copy of the model calls it with the
        same batches and takes all that it gives; the stages work on different batches at once."""
        rank, last = self.parallel.pipeline_rank, self.parallel.pipeline_size - 1
        sent: list[tuple[Any, torch.Tensor]] = []
        arriving = self._receive(batches[0]) if batches and rank > 0 else None
        for number, batch in enumerate(batches):
            received = None
            if arriving is not None:
                work, received = arriving
                work.wait()
                is_more = number + 1 < len(batches)
                arriving = self._receive(batches[number + 1]) if is_more else None
            hidden = self.forward(batch, received)
            if rank < last:
                sent.append(self._send(hidden))
            yield hidden
            if len(sent) > 1:
                sent.pop(0)[0].wait()
        for work, _ in sent:
            work.wait()

    def run(self, inputs: Inputs) -> torch.Tensor:
        """Hidden states of one batch; every rank of a copy of the model calls it."""
        [hidden] = self.run_all([inputs])
        return hidden

    def _send(self, hidden: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """The tensor is kept until it is gone: gloo reads it later, from a thread of its own."""
        hidden = hidden.contiguous()
        work = torch.distributed.isend(
            hidden, group=self.parallel.groups.pp, group_dst=self.parallel.pipeline_rank + 1
        )
        return work, hidden

    def _receive(self, inputs: Inputs) -> tuple[Any, torch.Tensor]:
        size, length = inputs.tokens.shape
        shape = (length, size, self.gpt.config.hidden_size)
        hidden = torch.empty(shape, dtype=self.dtype, device=self.device)
        work = torch.distributed.irecv(
            hidden, group=self.parallel.groups.pp, group_src=self.parallel.pipeline_rank - 1
        )
        return work, hidden
