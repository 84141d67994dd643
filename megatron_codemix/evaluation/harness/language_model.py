"""The harness's view of a model: texts in, log-likelihoods and texts out.

Texts become tokens as in the harness's own `hf` model, so that both give the same numbers on the
same weights. What the model's context does not hold is counted, never silently cut.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.engine.requests import (
    Generation,
    GenerationRequest,
    LanguageModel,
    Score,
    ScoreRequest,
)

DEFAULT_MAX_NEW_TOKENS = 256
"""The harness's own, for tasks that name none."""

TokenPair = tuple[Any, Sequence[int], Sequence[int]]
"""As the harness hands them on: (texts, context, continuation)."""

TokenWindow = tuple[Sequence[int], Sequence[int]]
"""Context, and the tokens after it that are scored."""


@dataclass
class Cuts:
    """What did not fit into the model's context."""

    prompts: int = 0
    """Prompts that lost tokens from their left, under all their choices or some."""
    tokens: int = 0
    """Tokens that were lost so, by the longest choice."""
    generations: int = 0
    """Requests that were allowed fewer new tokens than the task wants."""
    windowed: int = 0
    """Texts that are longer than the model's context, so that they were scored in windows."""


class HarnessModel(TemplateLM):  # type: ignore[misc]  # the harness's classes have no types
    """A `LanguageModel` for `lm_eval.simple_evaluate`, in the process that drives its ranks.

    Choices of one question are scored together, so that their context is computed once.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model
        self.cuts = Cuts()
        self._encoded: dict[str, list[int]] = {}

    @property
    def eot_token_id(self) -> int:
        """The end-of-document token; it also stands before a text without a context."""
        return self.model.prefix_token

    @property
    def max_length(self) -> int:
        """Tokens that the model sees at once."""
        return self.model.max_length

    def tok_encode(self, string: str, *unused: Any, **options: Any) -> list[int]:
        """Token numbers of a text, nothing before or after it."""
        if string not in self._encoded:
            self._encode([string])
        return self._encoded[string]

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """(log-likelihood in nats, whether greedy decoding gives it) of each (context, text)."""
        pairs = [request.args for request in requests]
        self._encode([context.rstrip() for context, _ in pairs] + ["".join(pair) for pair in pairs])
        result: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return result

    def _loglikelihood_tokens(
        self, requests: Sequence[TokenPair], **options: Any
    ) -> list[tuple[float, bool]]:
        for (_, text), _, tokens in requests:
            if not tokens:
                raise DataError(f"a task asks for the likelihood of {text!r}, which has no tokens")
        windows = [self._windows(context, tokens) for _, context, tokens in requests]
        self.cuts.windowed += sum(len(one) > 1 for one in windows)
        scores = iter(self._scores([pair for one in windows for pair in one]))
        parts = [[next(scores) for _ in one] for one in windows]
        return [
            (math.fsum(score.log_likelihood for score in one), all(s.is_greedy for s in one))
            for one in parts
        ]

    def _windows(self, context: Sequence[int], tokens: Sequence[int]) -> list[TokenWindow]:
        """What is scored of `tokens` after `context`: all at once, where the model's context holds
        them; else piece by piece, each after the one before."""
        if len(tokens) <= self.max_length:
            return [(context, tokens)]
        first, rest = list(tokens[: self.max_length]), list(tokens[self.max_length :])
        return [(context, first), *self._rolling(rest, before=first[-1])]

    def _rolling(self, tokens: list[int], *, before: int) -> list[TokenWindow]:
        """Windows of the model's context that overlap by one token; every token is scored once."""
        windows = get_rolling_token_windows(tokens, before, self.max_length, 1)
        return [make_disjoint_window(window) for window in windows]

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = True
    ) -> list[float]:
        """Log-likelihood of each text after the end-of-document token, in nats; every token is
        scored once, in windows of the model's context that overlap by one token."""
        self._encode([request.args[0] for request in requests])
        pairs: list[TokenWindow] = []
        owners = []
        for number, request in enumerate(requests):
            windows = self._rolling(self.tok_encode(request.args[0]), before=self.prefix_token_id)
            pairs += windows
            owners += [number] * len(windows)
        totals = [0.0] * len(requests)
        for owner, score in zip(owners, self._scores(pairs), strict=True):
            totals[owner] += score.log_likelihood
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """The text that follows each prompt, up to the first of its stop strings. A request that
        comes several times is sampled with as many seeds."""
        self._encode([request.args[0] for request in requests])
        seen: Counter[str] = Counter()
        asked = []
        for request in requests:
            prompt, options = request.args
            text_key = repr((prompt, options))
            asked.append(self._generation_request(prompt, options, seed=seen[text_key]))
            seen[text_key] += 1
        return [generation.text for generation in self._generations(asked)]

    def _encode(self, texts: Sequence[str]) -> None:
        """Has the tokens of these texts at hand, and no others."""
        distinct = list(dict.fromkeys(texts))
        tokens = self.model.tokenizer.encode_batch(distinct)
        self._encoded = {text: ids.tolist() for text, ids in zip(distinct, tokens, strict=True)}

    def _scores(self, pairs: Sequence[TokenWindow]) -> list[Score]:
        """In the order of the pairs (context, continuation)."""
        by_context: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, (context, _) in enumerate(pairs):
            by_context[tuple(context)].append(number)
        groups = list(by_context.values())
        requests = [
            ScoreRequest(context=context, continuations=[pairs[number][1] for number in numbers])
            for context, numbers in by_context.items()
        ]
        found: dict[int, Score] = {}

        def keep(group: int, scores: list[Score]) -> None:
            found.update(zip(groups[group], scores, strict=True))
            self._count_cut(max(score.num_cut for score in scores))

        self.model.score(requests, keep)
        return [found[number] for number in range(len(pairs))]

    def _generations(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        found: dict[int, Generation] = {}
        self.model.generate(requests, found.__setitem__)
        return [found[number] for number in range(len(requests))]

    def _generation_request(
        self, prompt: str, options: dict[str, Any], *, seed: int
    ) -> GenerationRequest:
        settings = dict(options)
        wanted = int(settings.pop("max_gen_toks", DEFAULT_MAX_NEW_TOKENS))
        until = settings.pop("until", None) or []
        stop = [until] if isinstance(until, str) else until
        is_sampled = settings.pop("do_sample", settings.get("temperature", 0.0) > 0)
        temperature = float(settings.pop("temperature", 1.0 if is_sampled else 0.0))
        top_p = float(settings.pop("top_p", 1.0))
        if settings:
            raise DataError(
                f"a task asks for generation with {', '.join(sorted(settings))}, which is not "
                "known here; until, max_gen_toks, do_sample, temperature and top_p are"
            )
        tokens, max_new_tokens = self._fitted(self.tok_encode(prompt), wanted)
        return GenerationRequest(
            prompt=tokens or [self.prefix_token_id],
            max_new_tokens=max_new_tokens,
            stop=tuple(text for text in stop if text),
            temperature=temperature if is_sampled else 0.0,
            top_p=top_p,
            seed=seed,
        )

    def _fitted(self, prompt: list[int], wanted: int) -> tuple[list[int], int]:
        """(prompt, new tokens) that the context holds. As in the harness's `hf` model the prompt
        makes room, but never more than half of the context: there that is an error."""
        room = self.max_length - min(wanted, self.max_length // 2)
        kept = prompt[-room:]
        self._count_cut(len(prompt) - len(kept))
        new = min(wanted, self.max_length - max(len(kept), 1))
        self.cuts.generations += new < wanted
        return kept, new

    def _count_cut(self, num_tokens: int) -> None:
        self.cuts.prompts += num_tokens > 0
        self.cuts.tokens += num_tokens
