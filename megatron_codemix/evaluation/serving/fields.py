"""The fields of a request's body: typed values, and a refusal by name of what has no meaning here.

The names are those of OpenAI's completions and chat interfaces.
"""

import math
from collections.abc import Mapping
from typing import Any

from megatron_codemix.evaluation.serving.errors import bad_request

Body = Mapping[str, Any]

_READ = {
    "model", "max_tokens", "temperature", "top_p", "n", "stop", "seed", "truncate_prompt_tokens",
}  # fmt: skip
READ_BY_COMPLETIONS = _READ | {"prompt"}
READ_BY_CHAT = _READ | {"messages", "max_completion_tokens"}
_WITHOUT_EFFECT = {"user", "metadata", "service_tier", "store", "safety_identifier"}
"""They change nothing in an answer."""
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "stream": (False,),
    "stream_options": (),
    "suffix": ("",),
    "tool_choice": ("none",),
    "tools": ([],),
    "top_logprobs": (),
}
"""Fields that are not supported -> values with which they do nothing; null always does."""


def refuse_others(body: Body, read: set[str]) -> None:
    """Raises ApiError for the first field that is neither read nor without effect."""
    for name, value in body.items():
        if name in read or name in _WITHOUT_EFFECT or value is None:
            continue
        if name not in _NEUTRAL:
            raise bad_request(f"{name!r} is not a field of this interface", name)
        if not any(_is_same(value, one) for one in _NEUTRAL[name]):
            raise bad_request(f"{name!r} is not supported here; leave it out", name)


def _is_same(one: Any, other: Any) -> bool:
    """Equal, and not a truth value in place of a number."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def number(body: Body, name: str, default: float) -> float:
    """A finite number. Raises ApiError for anything else."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise bad_request(f"{name!r} is {value!r}; a number is wanted", name)
    return float(value)


def integer(body: Body, name: str, low: int, high: int) -> int | None:
    """A whole number within the bounds; None where it is left out."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise bad_request(
            f"{name!r} is {value!r}; a whole number from {low} to {high} is wanted", name
        )
    return value


def stop_texts(body: Body) -> tuple[str, ...]:
    """`stop`: a text or several."""
    value = body.get("stop")
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(one, str) and one for one in texts):
        raise bad_request("'stop' is a text or a list of texts, none of them empty", "stop")
    return tuple(texts)
