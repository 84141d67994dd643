"""A model whose answers are kept: what it has answered before is not asked again."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.evaluation.engine.requests import (
    Generation,
    GenerationRequest,
    LanguageModel,
    Score,
    ScoreRequest,
)
from megatron_codemix.evaluation.tasks.answers import Answers, generation_key, score_key
from megatron_codemix.obs.progress import Advance


class Progress(Protocol):
    """Shows how far a number of requests is."""

    def __call__(self, description: str, total: int) -> AbstractContextManager[Advance]: ...


class RememberingModel:
    """A `LanguageModel` that looks into `answers` first and puts each new answer there."""

    def __init__(self, model: LanguageModel, answers: Answers, progress: Progress) -> None:
        self.model = model
        self.answers = answers
        self.progress = progress

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's."""
        return self.model.tokenizer

    @property
    def max_length(self) -> int:
        """The model's."""
        return self.model.max_length

    @property
    def prefix_token(self) -> int:
        """The model's."""
        return self.model.prefix_token

    def score(
        self,
        requests: Sequence[ScoreRequest],
        on_result: Callable[[int, list[Score]], None],
    ) -> None:
        """As of `LanguageModel`; of a request only the continuations that are new are asked."""
        keys = [
            [score_key(request.context, one) for one in request.continuations]
            for request in requests
        ]
        numbers = [n for n, names in enumerate(keys) if any(map(self._is_unknown, names))]
        missing = [
            ScoreRequest(
                context=requests[n].context,
                continuations=[
                    one
                    for key, one in zip(keys[n], requests[n].continuations, strict=True)
                    if self._is_unknown(key)
                ],
            )
            for n in numbers
        ]
        names = [list(filter(self._is_unknown, keys[n])) for n in numbers]
        with self.progress("log-likelihoods", sum(map(len, names))) as advance:

            def keep(number: int, scores: list[Score]) -> None:
                for key, score in zip(names[number], scores, strict=True):
                    self.answers.add(key, score)
                advance(len(scores))

            if missing:
                self.model.score(missing, keep)
        for number, names_of_one in enumerate(keys):
            on_result(number, [self.answers.score(key) for key in names_of_one])

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_result: Callable[[int, Generation], None],
    ) -> None:
        """As of `LanguageModel`; equal requests are one, as their seeds are equal."""
        keys = [generation_key(request) for request in requests]
        missing = {
            key: request
            for key, request in zip(keys, requests, strict=True)
            if self._is_unknown(key)
        }
        names = list(missing)
        with self.progress("generations", len(names)) as advance:

            def keep(number: int, generation: Generation) -> None:
                self.answers.add(names[number], generation)
                advance()

            if missing:
                self.model.generate(list(missing.values()), keep)
        for number, key in enumerate(keys):
            on_result(number, self.answers.generation(key))

    def _is_unknown(self, key: str) -> bool:
        return key not in self.answers
