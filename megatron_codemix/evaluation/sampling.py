"""How texts are drawn from a model, and what is asked for to get several of one prompt."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from megatron_codemix.evaluation.engine.requests import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """As of a GenerationRequest."""

    max_new_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def problems(self, max_length: int) -> list[tuple[str, str]]:
        """(name of the field, what is wrong with it) for a model that sees so many tokens."""
        found = []
        if not 0 <= self.temperature < math.inf:
            found.append(("temperature", f"{self.temperature:g}: a number from 0 up is wanted"))
        if not 0 < self.top_p <= 1:
            found.append(("top_p", f"{self.top_p:g}: a number above 0 and up to 1 is wanted"))
        if not 1 <= self.max_new_tokens < max_length:
            found.append(
                (
                    "max_new_tokens",
                    f"{self.max_new_tokens}: from 1 to {max_length - 1} are possible; the model "
                    f"sees {max_length} tokens, the prompt's among them",
                )
            )
        if "" in self.stop:
            found.append(("stop", "an empty text would end everything before it begins"))
        return found

    def requests(self, prompt: Sequence[int], count: int) -> list[GenerationRequest]:
        """For so many continuations of a prompt: the first with this seed, each other one with a
        seed of its own."""
        return [
            GenerationRequest(
                prompt=prompt,
                max_new_tokens=self.max_new_tokens,
                stop=self.stop,
                temperature=self.temperature,
                top_p=self.top_p,
                seed=_nth_seed(self.seed, number),
            )
            for number in range(count)
        ]


def _nth_seed(seed: int, number: int) -> int:
    """`seed` itself for 0; else 63 bits of a hash, so that neighbouring seeds share none."""
    if number == 0:
        return seed
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
