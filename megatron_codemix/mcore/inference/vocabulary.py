"""Logits that are split over tensor-parallel ranks -> log-probabilities and best tokens.

Every tensor-parallel rank calls these with its part of the same logits, and gets the same. Rows of
the vocabulary behind the tokenizer's are padding: they count as -inf.

Shapes: N places, T scored tokens, V this rank's part of the padded vocabulary.
"""

import torch
import torch.distributed
from torch.distributed import ReduceOp

from megatron_codemix.mcore.inference.stage import Stage

CHUNK_ELEMENTS = 1 << 24
"""Logits that are made at once: 64 MiB. Of long texts and large vocabularies all at once would be
more than the model."""


class Vocabulary:
    """The last pipeline stage's output, over the tokenizer's `size` tokens."""

    def __init__(self, stage: Stage, size: int) -> None:
        self.stage = stage
        self.group = stage.parallel.groups.tp
        self.size = size

    def scores(
        self, hidden_NH: torch.Tensor, asked_T: torch.Tensor, targets_T: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of each target, fp32 [T], and whether it is the best token, bool [T].

        asked_T: number of each target's place.
        """
        log_probability_T = torch.empty(len(asked_T), device=hidden_NH.device)
        is_best_T = torch.empty(len(asked_T), dtype=torch.bool, device=hidden_NH.device)
        chunk = max(1, CHUNK_ELEMENTS // self.stage.gpt.output_layer.output_size_per_partition)
        for start in range(0, len(hidden_NH), chunk):
            logits = self._logits(hidden_NH[start : start + chunk])
            here = torch.nonzero((asked_T >= start) & (asked_T < start + chunk)).squeeze(-1)
            found = self._scores_of(logits, asked_T[here] - start, targets_T[here])
            log_probability_T[here], is_best_T[here] = found
        return log_probability_T, is_best_T

    def best(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        """The most probable token of each place, of equals the lowest; int64 [N]."""
        return self._best_of(self._logits(hidden_NH))

    def drawn(
        self,
        hidden_NH: torch.Tensor,
        temperature_N: torch.Tensor,
        top_p_N: torch.Tensor,
        uniform_N: torch.Tensor,
    ) -> torch.Tensor:
        """A token of each place, int64 [N], drawn by the uniform number of [0, 1) that belongs to
        it: the first token at which the summed probabilities pass that share. fp64 [N] each.

        With top_p below 1 the summed are the fewest tokens that have it (arXiv 1904.09751).
        """
        logits_NV = self._gathered(self._logits(hidden_NH))[:, : self.size].double()
        probability_NV = (logits_NV / temperature_N.unsqueeze(-1)).softmax(-1)
        if not bool((top_p_N < 1).any()):
            return _first_past(probability_NV, uniform_N)
        sorted_NV, order_NV = probability_NV.sort(stable=True, descending=True)
        before_NV = sorted_NV.cumsum(-1) - sorted_NV
        is_out_NV = before_NV >= top_p_N.unsqueeze(-1)
        is_out_NV[:, 0] = False
        place_N = _first_past(sorted_NV.masked_fill_(is_out_NV, 0), uniform_N)
        return order_NV.gather(-1, place_N.unsqueeze(-1)).squeeze(-1)

    def _gathered(self, logits_NV: torch.Tensor) -> torch.Tensor:
        """[N, padded vocabulary], of all tensor-parallel ranks."""
        if self.group.size() == 1:
            return logits_NV
        parts = [torch.empty_like(logits_NV) for _ in range(self.group.size())]
        torch.distributed.all_gather(parts, logits_NV.contiguous(), group=self.group)
        return torch.cat(parts, -1)

    def _scores_of(
        self, logits_NV: torch.Tensor, asked_T: torch.Tensor, targets_T: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        maximum_N = logits_NV.amax(-1)
        torch.distributed.all_reduce(maximum_N, ReduceOp.MAX, group=self.group)
        shifted_NV = logits_NV.sub_(maximum_N.unsqueeze(-1))
        target_T = self._values_at(shifted_NV, asked_T, targets_T)
        is_best_T = target_T == 0
        # Which of equals is lower is asked only where the target is one of them.
        rows = asked_T[is_best_T]
        is_best_T[is_best_T.clone()] = self._best_of(shifted_NV[rows]) == targets_T[is_best_T]
        total_N = shifted_NV.exp_().sum(-1)
        torch.distributed.all_reduce(total_N, group=self.group)
        return target_T - total_N.log()[asked_T], is_best_T

    def _values_at(
        self, values_NV: torch.Tensor, rows_T: torch.Tensor, tokens_T: torch.Tensor
    ) -> torch.Tensor:
        """[T], of whatever rank has the token."""
        places_T = tokens_T - self._first
        is_mine_T = (places_T >= 0) & (places_T < values_NV.shape[-1])
        found_T = values_NV[rows_T, places_T.clamp(0, values_NV.shape[-1] - 1)]
        found_T = torch.where(is_mine_T, found_T, torch.zeros_like(found_T))
        torch.distributed.all_reduce(found_T, group=self.group)
        return found_T

    def _best_of(self, logits_NV: torch.Tensor) -> torch.Tensor:
        if len(logits_NV) == 0:
            return torch.zeros(0, dtype=torch.long, device=logits_NV.device)
        mine_N = logits_NV.argmax(-1)
        if self.group.size() == 1:
            return mine_N
        largest_N = logits_NV.gather(-1, mine_N.unsqueeze(-1)).squeeze(-1)
        overall_N = largest_N.clone()
        torch.distributed.all_reduce(overall_N, ReduceOp.MAX, group=self.group)
        candidate_N = torch.where(largest_N == overall_N, mine_N + self._first, self.size)
        torch.distributed.all_reduce(candidate_N, ReduceOp.MIN, group=self.group)
        return candidate_N

    def _logits(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        logits_NV = self.stage.logits(hidden_NH)
        logits_NV[:, max(0, self.size - self._first) :] = -torch.inf
        return logits_NV

    @property
    def _first(self) -> int:
        """Token of this rank's first row."""
        width: int = self.stage.gpt.output_layer.output_size_per_partition
        return self.group.rank() * width


def _first_past(weight_NV: torch.Tensor, share_N: torch.Tensor) -> torch.Tensor:
    """First place of each row at which the sum passes that share of the whole; int64 [N]."""
    sum_NV = weight_NV.cumsum(-1)
    wanted_N1 = share_N.unsqueeze(-1) * sum_NV[:, -1:]
    return torch.searchsorted(sum_NV, wanted_N1, right=True).squeeze(-1)
