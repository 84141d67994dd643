"""Prompts from files, and how an instruction becomes the text that a base model goes on with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.instructions.template import PLAIN, ChatRenderer
from megatron_codemix.errors import DataError
from megatron_codemix.files import without_lone_surrogates

END_OF_ANSWER = "\nInstruction:"
"""Where a base model has finished the answer and begins an instruction of its own."""
END_OF_TURN = "\nUser:"
"""The same in a conversation."""
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True)
class Prompt:
    """A line of a file of prompts: a text to be gone on with, or an instruction."""

    text: str
    """What the model is given."""
    instruction: str | None = None
    context: str = ""
    """What the instruction is about, where it is given beside it."""

    @property
    def said(self) -> str:
        """What a user would say in a conversation; joined as those are that models are tuned on."""
        if self.instruction is None:
            return self.text
        return f"{self.instruction}\n\n{self.context}" if self.context else self.instruction


def instruction_text(instruction: str, context: str = "") -> str:
    """The prompt for a model that was trained on documents and knows no turns."""
    about = f"\nContext: {context}" if context else ""
    return f"Instruction: {instruction}{about}\nAnswer:"


def conversation_text(messages: list[tuple[str, str]]) -> str:
    """(role, text) of each message by the plain chat template; ends where the assistant's turn
    begins.

    Raises KeyError with a role that it does not know.
    """
    turns = [{"role": _ROLES[role], "content": text} for role, text in messages]
    return ChatRenderer(PLAIN).render(turns, add_generation_prompt=True).text


def read_prompts(path: Path) -> list[Prompt]:
    """A prompt for each line: of a `.jsonl` its `prompt`, or its `instruction` and `context`; of
    any other file the line itself.

    Raises DataError for a file that cannot be read or is empty, and for the first bad line.
    """
    read = _from_json if path.suffix == ".jsonl" else _from_text
    return [read(line, f"{path}:{number}") for number, line in read_lines(path)]


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(number from 1, line). Raises DataError where there are none, or not in UTF-8."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    # Not splitlines(): a JSON string may hold U+2028, which it takes for the end of a line.
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    if lines == [""]:
        raise DataError(f"{path}: empty; give a file with a prompt on each line")
    return list(enumerate(lines, start=1))


def read_object(line: str, place: str) -> dict[str, Any]:
    """The JSON object of a line. Raises DataError that names `place`."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise DataError(f"{place}: a JSON object is wanted, not {type(record).__name__}")
    return record


def text_of(record: dict[str, Any], name: str, place: str) -> str:
    """A text that is not empty. Raises DataError that names `place`."""
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{place}: {name!r} is {value!r}; a text that is not empty is wanted")
    return without_lone_surrogates(value)


def _from_text(line: str, place: str) -> Prompt:
    if not line.strip():
        raise DataError(f"{place}: empty; each line is a prompt")
    return Prompt(line)


def _from_json(line: str, place: str) -> Prompt:
    record = read_object(line, place)
    if "instruction" not in record:
        if "prompt" not in record:
            raise DataError(f"{place}: has neither 'prompt' nor 'instruction'")
        return Prompt(text_of(record, "prompt", place))
    instruction, context = text_of(record, "instruction", place), record.get("context") or ""
    if not isinstance(context, str):
        raise DataError(f"{place}: 'context' is {context!r}; a text is wanted")
    context = without_lone_surrogates(context)
    return Prompt(instruction_text(instruction, context), instruction, context)
