"""Prompts in, next tokens out, for rows that come and go while the others go on.

Every rank of a copy of the model makes the same calls; the last stage's first tensor-parallel rank
decides, and tells the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed

from megatron_codemix.mcore.inference.cache import KeyValueCache
from megatron_codemix.mcore.inference.stage import Inputs, Stage
from megatron_codemix.mcore.inference.vocabulary import Vocabulary

_PADDING_TOKEN = 0


@dataclass(frozen=True)
class Draw:
    """How the next token of one row is chosen."""

    temperature: float
    """0: the most probable."""
    top_p: float
    uniform: float
    """Of [0, 1): decides."""


class Decoder:
    """Rows in the first slots of a cache of `num_slots` rows of `length` tokens."""

    def __init__(
        self, stage: Stage, vocabulary: Vocabulary, *, num_slots: int, length: int
    ) -> None:
        self.stage, self.vocabulary = stage, vocabulary
        self.num_slots = num_slots
        self._cache = KeyValueCache(stage.attentions, num_slots=num_slots, length=length)
        self._group = stage.parallel.groups.mp
        self._speaker = self._agree_on_speaker()

    @torch.inference_mode()
    def fill(self, prompts: Sequence[Sequence[int]], slots: Sequence[int]) -> torch.Tensor:
        """Reads prompts into slots; the hidden states that predict their next tokens [B, hidden],
        on the last stage."""
        lengths = [len(prompt) for prompt in prompts]
        tokens = torch.full((len(prompts), max(lengths)), _PADDING_TOKEN)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = torch.tensor(prompt)
        self._cache.fill(torch.tensor(slots).to(self.stage.device))
        hidden = self.stage.run(Inputs(tokens.to(self.stage.device)))
        return hidden[torch.tensor(lengths) - 1, torch.arange(len(lengths))]

    @torch.inference_mode()
    def extend(self, tokens: Sequence[int], positions: Sequence[int]) -> torch.Tensor:
        """Reads one token more for each of the first slots, at its position; hidden states as of
        `fill`."""
        device = self.stage.device
        self._cache.extend(positions, device, self.stage.dtype)
        places = self._cache.positions
        inputs = Inputs(torch.tensor(tokens).to(device).unsqueeze(1), places.unsqueeze(1))
        return self.stage.run(inputs)[0]

    @torch.inference_mode()
    def next_tokens(self, hidden: torch.Tensor, draws: Sequence[Draw]) -> list[int]:
        """The next token of each row of `hidden`; on the last stage, [] elsewhere."""
        if not self.stage.parallel.is_last_stage:
            return []
        chosen = self.vocabulary.best(hidden)
        rows = [row for row, draw in enumerate(draws) if draw.temperature > 0]
        if rows:
            options = torch.tensor(
                [(draws[row].temperature, draws[row].top_p, draws[row].uniform) for row in rows],
                dtype=torch.float64,
            ).to(hidden.device)
            chosen[rows] = self.vocabulary.drawn(hidden[rows], *options.T)
        return chosen.tolist()

    def tell(self, numbers: list[list[int]], size: int) -> list[list[int]]:
        """Two rows of `size` numbers from the rank that decides, to all of this copy's."""
        if self._group.size() == 1:
            return numbers
        told = (
            torch.tensor(numbers) if self.stage.speaks else torch.empty(2, size, dtype=torch.long)
        )
        told = told.to(self.stage.device)
        torch.distributed.broadcast(told, src=self._speaker, group=self._group)
        return told.tolist()

    @torch.inference_mode()
    def move(self, source: int, target: int, length: int) -> None:
        """Brings a row of this length to another slot."""
        self._cache.move(source, target, length)

    def close(self) -> None:
        """Gives the cache's memory back."""
        self._cache.close()

    def _agree_on_speaker(self) -> int:
        """Global rank."""
        rank = self.stage.parallel.rank if self.stage.speaks else -1
        found = torch.tensor([rank], device=self.stage.device)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX, group=self._group)
        return int(found)
