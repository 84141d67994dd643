"""A record of an instruction file as a conversation: what shapes there are, and what is refused.

OpenAI's `messages`, ShareGPT's `conversations`, Alpaca's and Dolly's one question and one answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from megatron_codemix.corpus.instructions.template import Message
from megatron_codemix.errors import DataError

Fields = Mapping[str, Any]  # Any: JSON values of a record that is not checked yet

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
}
_QUESTION, _ABOUT, _ANSWER = "instruction", ("input", "context"), ("output", "response")


class BadChatError(DataError):
    """A record that is no conversation with an answer; `reason` is what such records are counted
    under."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def messages_of(record: Fields) -> list[Message]:
    """The conversation of a record, up to its last answer: `system` (at its beginning alone),
    `user` and `assistant`. What stands behind the last answer teaches nothing and is left out.

    Raises BadChatError.
    """
    if "messages" in record:
        messages = _turns(record["messages"], "messages", "role", "content")
    elif "conversations" in record:
        messages = _turns(record["conversations"], "conversations", "from", "value")
    elif _QUESTION in record:
        messages = _one_question(record)
    else:
        names = ", ".join(record) or "no fields"
        raise BadChatError(
            "not a conversation",
            f"has {names}; one of messages, conversations, or instruction with output is wanted",
        )
    return _up_to_the_last_answer(messages)


def first_question(messages: Sequence[Message]) -> str:
    """What the user asks first; "" where nobody asks."""
    return next((one["content"] for one in messages if one["role"] == "user"), "")


def _turns(turns: Any, field: str, role_field: str, text_field: str) -> list[Message]:
    if not isinstance(turns, list) or not turns:
        raise BadChatError("not a conversation", f"{field} is not a list of messages")
    return [
        _turn(turn, f"{field}.{number}", role_field, text_field)
        for number, turn in enumerate(turns)
    ]


def _turn(turn: Any, place: str, role_field: str, text_field: str) -> Message:
    if not isinstance(turn, Mapping):
        raise BadChatError("not a conversation", f"{place} is not an object")
    name = turn.get(role_field)
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        known = ", ".join(_ROLES)
        raise BadChatError("unknown role", f"{place}.{role_field} is {name!r}; known are {known}")
    return {"role": role, "content": _text(turn.get(text_field), f"{place}.{text_field}")}


def _text(value: Any, place: str) -> str:
    """A text, or the texts of its parts."""
    if isinstance(value, list):
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in value]
        if any(not isinstance(part, str) for part in parts):
            raise BadChatError("not text", f"{place} has parts that are not text")
        value = "".join(map(str, parts))
    if not isinstance(value, str):
        raise BadChatError("not text", f"{place} is {value!r:.40}")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON's \ud800 escapes can spell what UTF-8 cannot
        raise BadChatError("not UTF-8", place) from None
    return value


def _one_question(record: Fields) -> list[Message]:
    """Alpaca joins what the question is about to it with an empty line, and so does this."""
    question = _text(record[_QUESTION], _QUESTION)
    about = _first_of(record, _ABOUT, "")
    if about:
        question = f"{question}\n\n{about}"
    messages: list[Message] = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": _first_of(record, _ANSWER, None)},
    ]
    system = _first_of(record, ("system",), "")
    return [{"role": "system", "content": system}, *messages] if system else messages


def _first_of(record: Fields, names: Sequence[str], default: str | None) -> str:
    for name in names:
        if record.get(name) is not None:
            return _text(record[name], name)
    if default is None:
        raise BadChatError("no answer", f"has neither {' nor '.join(names)}")
    return default


def _up_to_the_last_answer(messages: list[Message]) -> list[Message]:
    roles = [one["role"] for one in messages]
    if "assistant" not in roles:
        raise BadChatError("no answer", "no turn of the assistant")
    if "system" in roles[1:]:
        place = roles.index("system", 1)
        raise BadChatError("system message inside", f"message {place} of {len(roles)}")
    first = roles[1:] if roles[0] == "system" else roles
    if first[0] == "assistant":
        raise BadChatError("no question", "it begins with the assistant")
    last = len(roles) - roles[::-1].index("assistant")
    for number, one in enumerate(messages[:last]):
        if one["role"] != "system" and not one["content"].strip():
            is_answer = one["role"] == "assistant"
            raise BadChatError(
                "empty answer" if is_answer else "empty question", f"message {number}"
            )
    return messages[:last]
