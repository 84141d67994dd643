"""Prompts of one copy of the model: they wait, enter a slot as one becomes free, and leave it when
they are done. Each of the copy's ranks has the same rows in the same slots."""

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.evaluation.engine.requests import Generation, GenerationRequest
from megatron_codemix.evaluation.engine.text import GeneratedText, kept_prompt
from megatron_codemix.mcore.inference.decoding import Decoder, Draw

ROUND_STEPS = 16
"""New tokens of each row between two reports."""
_SEED_MASK = (1 << 64) - 1


class Row:
    """A prompt that is being continued."""

    def __init__(
        self, number: int, request: GenerationRequest, tokenizer: Tokenizer, max_length: int
    ) -> None:
        self.number, self.request = number, request
        self.prompt = kept_prompt(request.prompt, request.max_new_tokens, max_length)
        self.text = GeneratedText(request, tokenizer)
        self.last_token = 0
        self.length = len(self.prompt)
        """Tokens that the model has read."""
        self._random = np.random.default_rng(request.seed & _SEED_MASK)

    def draw(self) -> Draw:
        """For its next token."""
        is_greedy = self.request.temperature == 0
        uniform = 0.0 if is_greedy else float(self._random.random())
        return Draw(self.request.temperature, self.request.top_p, uniform)

    def result(self) -> tuple[int, Generation]:
        return self.number, self.text.generation(len(self.request.prompt) - len(self.prompt))


class Slots:
    """Rows that are continued at once."""

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        *,
        max_length: int,
        max_batch_tokens: int,
    ) -> None:
        self._decoder = decoder
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._max_batch_tokens = max_batch_tokens
        self._waiting: deque[Row] = deque()
        self._live: list[Row] = []
        """By slot."""
        self._done: list[tuple[int, Generation]] = []

    def run(
        self, requests: Sequence[tuple[int, GenerationRequest]]
    ) -> list[tuple[int, Generation]]:
        """Adds requests and makes ROUND_STEPS steps, or fewer where nothing is left; what is done,
        on the rank that decides."""
        for number, request in requests:
            self._waiting.append(Row(number, request, self._tokenizer, self._max_length))
        for _ in range(ROUND_STEPS):
            self._admit()
            if not self._live:
                break
            self._step()
        done, self._done = self._done, []
        return done

    def _admit(self) -> None:
        """Reads as many waiting prompts as there are slots, as far as they fit a forward pass."""
        while self._waiting and len(self._live) < self._decoder.num_slots:
            rows: list[Row] = []
            while self._waiting and len(self._live) + len(rows) < self._decoder.num_slots:
                longest = max(row.length for row in [*rows, self._waiting[0]])
                if rows and longest * (len(rows) + 1) > self._max_batch_tokens:
                    break
                rows.append(self._waiting.popleft())
            first = len(self._live)
            self._live.extend(rows)
            slots = range(first, len(self._live))
            hidden = self._decoder.fill([row.prompt for row in rows], slots)
            self._decide(hidden, list(slots))

    def _step(self) -> None:
        rows = self._live
        hidden = self._decoder.extend(
            [row.last_token for row in rows], [row.length for row in rows]
        )
        for row in rows:
            row.length += 1
        self._decide(hidden, list(range(len(rows))))

    def _decide(self, hidden: torch.Tensor, slots: list[int]) -> None:
        """Chooses the next tokens of the rows in these slots, and lets those go that are done."""
        rows = [self._live[slot] for slot in slots]
        tokens = self._decoder.next_tokens(hidden, [row.draw() for row in rows])
        is_last: list[int] = []
        if self._decoder.stage.speaks:
            is_last = [row.text.add(token) for row, token in zip(rows, tokens, strict=True)]
        tokens, is_last = self._decoder.tell([tokens, is_last], len(rows))
        for row, token in zip(rows, tokens, strict=True):
            row.last_token = token
        for slot in reversed([slot for slot, last in zip(slots, is_last, strict=True) if last]):
            self._leave(slot)

    def _leave(self, slot: int) -> None:
        """The last row takes the place of one that is done."""
        row, last = self._live[slot], self._live.pop()
        if last is not row:
            self._live[slot] = last
            self._decoder.move(len(self._live), slot, last.length)
        if self._decoder.stage.speaks:
            self._done.append(row.result())

    def close(self) -> None:
        """Gives the memory back."""
        self._decoder.close()
