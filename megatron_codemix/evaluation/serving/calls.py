"""From the body of a request to what the model is asked, and from its texts to the answer."""

import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any

from megatron_codemix.corpus.instructions.template import PLAIN, ChatTemplate
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.engine.requests import Generation, GenerationRequest
from megatron_codemix.evaluation.sampling import Sampling
from megatron_codemix.evaluation.serving.errors import ApiError, bad_request
from megatron_codemix.evaluation.serving.fields import (
    READ_BY_CHAT,
    READ_BY_COMPLETIONS,
    Body,
    integer,
    number,
    refuse_others,
    stop_texts,
)
from megatron_codemix.evaluation.turns import Turns
from megatron_codemix.files import without_lone_surrogates

DEFAULT_MAX_TOKENS = 16
"""Of a completion, as OpenAI's; a chat's default is what the context has left."""
_MAX_CHOICES = 128
_MAX_SEED = 2**63 - 1
_FINISH = {"stop": "stop", "end": "stop", "length": "length"}


@dataclass(frozen=True)
class Served:
    """The model, as far as requests are read."""

    name: str
    tokenizer: Tokenizer
    max_length: int
    template: ChatTemplate = PLAIN
    """Of the conversations that it was tuned on."""

    @cached_property
    def turns(self) -> Turns:
        """Conversations as in training."""
        return Turns(self.template, self.tokenizer)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that has been read."""

    requests: Sequence[GenerationRequest]
    """For each prompt `n`, one after the other."""
    is_chat: bool
    num_prompt_tokens: int
    """That the model sees, each prompt once."""
    num_cut: int
    """Tokens of prompts that were cut because the caller asked for it."""


def read_completions(body: Body, served: Served) -> Call:
    """Of `/v1/completions`. Raises ApiError."""
    refuse_others(body, READ_BY_COMPLETIONS)
    _require_model(body, served)
    prompts = _prompts(body.get("prompt"), served)
    return _call(body, prompts, served, is_chat=False)


def read_chat(body: Body, served: Served) -> Call:
    """Of `/v1/chat/completions`; the messages become one text by the chat template. Raises
    ApiError."""
    refuse_others(body, READ_BY_CHAT)
    _require_model(body, served)
    messages = [
        {"role": "system" if role == "developer" else role, "content": text}
        for role, text in _messages(body.get("messages"))
    ]
    try:
        prompt = served.turns.prompt(messages)
    except DataError as error:
        raise bad_request(str(error), "messages") from error
    return _call(body, [prompt], served, is_chat=True)


def answer(call: Call, generations: Sequence[Generation], served: Served) -> dict[str, Any]:
    """The body of a good answer."""
    completion_tokens = sum(len(generation.tokens) for generation in generations)
    return {
        "id": f"{'chatcmpl' if call.is_chat else 'cmpl'}-{uuid.uuid4().hex}",
        "object": "chat.completion" if call.is_chat else "text_completion",
        "created": int(time.time()),
        "model": served.name,
        "choices": [
            {
                "index": index,
                **_content(generation.text, served, is_chat=call.is_chat),
                "finish_reason": _FINISH[generation.finish_reason],
                "logprobs": None,
            }
            for index, generation in enumerate(generations)
        ],
        "usage": {
            "prompt_tokens": call.num_prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": call.num_prompt_tokens + completion_tokens,
            **({"truncated_prompt_tokens": call.num_cut} if call.num_cut else {}),
        },
    }


def _content(text: str, served: Served, *, is_chat: bool) -> dict[str, Any]:
    if is_chat:
        return {"message": {"role": "assistant", "content": served.turns.answer(text)}}
    return {"text": text}


def _require_model(body: Body, served: Served) -> None:
    wanted = body.get("model")
    if not isinstance(wanted, str):
        raise bad_request(f"'model' is missing; {served.name!r} is served here", "model")
    if wanted != served.name:
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            f"there is no model {wanted!r} here; {served.name!r} is served",
            param="model",
            code="model_not_found",
        )


def _prompts(value: Any, served: Served) -> list[list[int]]:
    """A text, a list of texts, the tokens of a prompt, or a list of those."""
    if isinstance(value, str) or _is_tokens(value):
        value = [value]
    if not isinstance(value, list) or not value:
        raise bad_request("'prompt' is a text, a list of texts, or tokens; there is none", "prompt")
    return [_encode(one, served) if isinstance(one, str) else _tokens(one, served) for one in value]


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int for one in value)


def _tokens(value: Any, served: Served) -> list[int]:
    size = served.tokenizer.vocabulary_size
    if not _is_tokens(value) or not all(0 <= token < size for token in value):
        raise bad_request(
            f"'prompt': a text or tokens from 0 to {size - 1} are wanted for each prompt", "prompt"
        )
    return list(value)


def _encode(text: str, served: Served) -> list[int]:
    if not text:
        raise bad_request(
            f"'prompt' is empty; for a text from nothing give the token that stands before texts: "
            f"[{served.tokenizer.end_of_document_id}]",
            "prompt",
        )
    [tokens] = served.tokenizer.encode_batch([without_lone_surrogates(text)])
    return [int(token) for token in tokens]


def _messages(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, list) or not value:
        raise bad_request("'messages' is a list of messages; there is none", "messages")
    return [_message(one, f"messages.{number}") for number, one in enumerate(value)]


def _message(value: Any, place: str) -> tuple[str, str]:
    roles = ("system", "developer", "user", "assistant")
    if not isinstance(value, Mapping) or value.get("role") not in roles:
        raise bad_request(f"{place}: 'role' must be one of {', '.join(roles)}", place)
    content = value.get("content")
    if isinstance(content, list):
        content = "".join(_part(part, place) for part in content)
    if not isinstance(content, str):
        raise bad_request(f"{place}: 'content' is a text, or a list of text parts", place)
    return value["role"], without_lone_surrogates(content)


def _part(part: Any, place: str) -> str:
    text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
    if not isinstance(text, str):
        raise bad_request(f"{place}: this model reads parts of type 'text' alone", place)
    return text


def _call(body: Body, prompts: list[list[int]], served: Served, *, is_chat: bool) -> Call:
    longest = max(map(len, prompts))
    max_tokens = _max_tokens(body, served, longest, is_chat=is_chat)
    kept = [_fitting(prompt, body, served, max_tokens) for prompt in prompts]
    seed = integer(body, "seed", -_MAX_SEED - 1, _MAX_SEED)
    sampling = Sampling(
        max_new_tokens=max_tokens,
        stop=(*stop_texts(body), *((served.turns.stop,) if is_chat else ())),
        temperature=number(body, "temperature", 1.0),
        top_p=number(body, "top_p", 1.0),
        seed=secrets.randbits(63) if seed is None else seed & _MAX_SEED,
    )
    for name, problem in sampling.problems(served.max_length):
        raise bad_request(f"{name!r}: {problem}", name)
    count = integer(body, "n", 1, _MAX_CHOICES) or 1
    return Call(
        requests=[request for prompt in kept for request in sampling.requests(prompt, count)],
        is_chat=is_chat,
        num_prompt_tokens=sum(map(len, kept)),
        num_cut=sum(map(len, prompts)) - sum(map(len, kept)),
    )


def _max_tokens(body: Body, served: Served, longest: int, *, is_chat: bool) -> int:
    names = ("max_completion_tokens", "max_tokens") if is_chat else ("max_tokens",)
    for name in names:
        if (given := integer(body, name, 1, served.max_length - 1)) is not None:
            return given
    if is_chat:
        return max(1, served.max_length - longest)
    return min(DEFAULT_MAX_TOKENS, served.max_length - 1)


def _fitting(prompt: list[int], body: Body, served: Served, max_tokens: int) -> list[int]:
    """The prompt, or its end where the caller lets it be cut: `truncate_prompt_tokens` is how many
    to keep, -1 for as many as fit (vLLM's field)."""
    room = served.max_length - max_tokens
    keep = integer(body, "truncate_prompt_tokens", -1, served.max_length)
    if keep == 0:
        raise bad_request("'truncate_prompt_tokens': 0 would leave nothing; -1 is what fits")
    kept = prompt if keep is None else prompt[-(room if keep == -1 else min(keep, room)) :]
    if len(kept) > room:
        raise bad_request(
            f"this model sees {served.max_length} tokens; the prompt has {len(prompt)} and "
            f"{max_tokens} more were asked for; shorten it, ask for fewer, or let it be cut from "
            "the left with 'truncate_prompt_tokens': -1",
            "prompt",
            "context_length_exceeded",
        )
    return kept
