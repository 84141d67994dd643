"""What a language model is asked for evaluation, and what it answers. Free of torch.

Tokens are those of the run's tokenizer. Probabilities are over its vocabulary: rows of the model's
output behind it are padding, and neither count nor come out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from megatron_codemix.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class ScoreRequest:
    """Continuations of one context, each on its own: they do not see one another."""

    context: Sequence[int]
    """Not empty; where there is no text, the model's prefix token."""
    continuations: Sequence[Sequence[int]]
    """One or more, none of them empty."""


@dataclass(frozen=True)
class Score:
    """Of one continuation."""

    log_likelihood: float
    """Sum over its tokens, natural logarithm."""
    is_greedy: bool
    """Whether each of its tokens is the most probable one, of equals the one of lowest number."""
    num_scored: int
    """Tokens that were scored."""
    num_cut: int
    """Tokens that the model could not see: those cut from the left where context and continuation
    are longer than its context."""


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt to be continued."""

    prompt: Sequence[int]
    """Not empty."""
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    """Texts that end the generation, and are not part of it."""
    temperature: float = 0.0
    """0: the most probable token each time."""
    top_p: float = 1.0
    """Draws from the fewest tokens whose probabilities add up to it (arXiv 1904.09751)."""
    seed: int = 0
    """What is drawn depends on it and on this request alone: not on the other requests, nor on the
    layout but for rounding."""


@dataclass(frozen=True)
class Generation:
    """What a prompt was continued with."""

    tokens: list[int]
    """New tokens, without the end-of-document token."""
    text: str
    """Of the tokens, up to the first stop string."""
    finish_reason: Literal["stop", "length", "end"]
    """A stop string; max_new_tokens or the model's context; the end-of-document token."""
    num_cut: int
    """Tokens of the prompt cut from the left, so that it and max_new_tokens fit the context."""


class LanguageModel(Protocol):
    """What evaluation asks. Implemented by the engine, and by fakes in tests."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Of the run."""

    @property
    def max_length(self) -> int:
        """Tokens that the model sees at once."""

    @property
    def prefix_token(self) -> int:
        """Stands before a text: the end-of-document token, as between documents in training."""

    def score(
        self,
        requests: Sequence[ScoreRequest],
        on_result: Callable[[int, list[Score]], None],
    ) -> None:
        """Calls on_result(number of the request, a score for each continuation) as they come, in
        any order."""

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_result: Callable[[int, Generation], None],
    ) -> None:
        """Calls on_result(number of the request, its generation) as they come, in any order."""
