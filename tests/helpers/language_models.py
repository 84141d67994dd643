"""Language models that need no weights, behind the interface that evaluation asks."""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.evaluation.engine.requests import (
    Generation,
    GenerationRequest,
    Score,
    ScoreRequest,
)
from tests.helpers.tiny import write_tokenizer


class ByteModel:
    """Tokens are bytes. By default all tokens are equally likely, and what it writes follows from
    the prompt, the seed and nothing else. Keeps what it was asked."""

    def __init__(self, folder: Path, max_length: int = 64) -> None:
        path = folder / "bytes.tokenizer.json"
        write_tokenizer(path)
        self.tokenizer = Tokenizer.load(path)
        self.max_length = max_length
        self.prefix_token = self.tokenizer.end_of_document_id
        self.scored: list[ScoreRequest] = []
        self.generated: list[GenerationRequest] = []

    def score(
        self, requests: Sequence[ScoreRequest], on_result: Callable[[int, list[Score]], None]
    ) -> None:
        # In another order than asked: callers must not rely on one.
        for number in reversed(range(len(requests))):
            request = requests[number]
            self.scored.append(request)
            on_result(number, [self._score(request, one) for one in request.continuations])

    def _score(self, request: ScoreRequest, continuation: Sequence[int]) -> Score:
        too_long = len(request.context) + len(continuation) - 1 - self.max_length
        return Score(
            log_likelihood=self.log_likelihood(request.context, continuation),
            is_greedy=False,
            num_scored=len(continuation),
            num_cut=max(0, too_long),
        )

    def log_likelihood(self, context: Sequence[int], continuation: Sequence[int]) -> float:
        """In nats."""
        return -len(continuation) * math.log(self.tokenizer.vocabulary_size)

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_result: Callable[[int, Generation], None],
    ) -> None:
        for number in reversed(range(len(requests))):
            request = requests[number]
            self.generated.append(request)
            text = self.continue_text(self.tokenizer.decode(request.prompt), request.seed)
            ends = [text.find(stop) for stop in request.stop if stop in text]
            kept = text[: min(ends, default=len(text))]
            tokens = self.tokenizer.encode_batch([kept])[0].tolist()[: request.max_new_tokens]
            on_result(
                number,
                Generation(
                    tokens=tokens,
                    text=self.tokenizer.decode(tokens),
                    finish_reason="stop" if ends else "length",
                    num_cut=0,
                ),
            )

    def continue_text(self, prompt: str, seed: int) -> str:
        """What it writes."""
        return hashlib.sha256(f"{seed} {prompt}".encode()).hexdigest()
