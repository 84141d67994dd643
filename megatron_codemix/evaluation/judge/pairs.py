"""The items that are judged: an instruction and two answers to it, from files."""

from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.prompts import (
    Prompt,
    read_lines,
    read_object,
    read_prompts,
)
from megatron_codemix.files import Json, without_lone_surrogates


@dataclass(frozen=True)
class Pair:
    """One item. A and B are the sides in the order of the command line."""

    instruction: str
    context: str
    answer_a: str
    answer_b: str


@dataclass(frozen=True)
class Answers:
    """Of one side, to each prompt."""

    texts: list[str]
    num_cut: int
    """Prompts that the model did not see whole, where `codemix generate` says so."""


def read_instructions(path: Path, limit: int | None) -> list[Prompt]:
    """The first `limit` prompts of a file; one without an instruction is its own.

    Raises DataError as `read_prompts` does.
    """
    prompts = read_prompts(path)[:limit]
    return [
        prompt if prompt.instruction is not None else Prompt(prompt.text, prompt.text)
        for prompt in prompts
    ]


def read_answers(path: Path, prompts: list[Prompt], *, is_limited: bool) -> Answers:
    """The answer to each prompt: line n of the file is for prompt n.

    A line has `instruction` and `answer`, or `prompt` and `completion` as `codemix generate --out`
    writes them. An answer may be empty: a model may have nothing to say.
    is_limited: whether the file may go on after the last prompt.
    Raises DataError where a line is for another prompt, or lines are missing or too many.
    """
    lines = read_lines(path)
    if len(lines) < len(prompts) or (len(lines) > len(prompts) and not is_limited):
        raise DataError(
            f"{path}: {len(lines)} answers for {len(prompts)} prompts; a line for each is wanted, "
            "in the same order"
        )
    records = [
        (read_object(line, f"{path}:{number}"), f"{path}:{number}")
        for number, line in lines[: len(prompts)]
    ]
    texts = [
        _answer(record, prompt, place)
        for (record, place), prompt in zip(records, prompts, strict=True)
    ]
    return Answers(texts, sum(bool(record.get("cut_prompt_tokens")) for record, _ in records))


def _answer(record: dict[str, Json], prompt: Prompt, place: str) -> str:
    asked = record.get("instruction", record.get("prompt"))
    if asked is None:
        raise DataError(f"{place}: has neither 'instruction' nor 'prompt', to say what it answers")
    if asked not in (prompt.instruction, prompt.text, prompt.said):
        raise DataError(
            f"{place}: answers {_short(asked)}, where the prompts have "
            f"{_short(prompt.instruction)}; the lines of both files must be in the same order"
        )
    answer = record.get("answer", record.get("completion"))
    if not isinstance(answer, str):
        raise DataError(f"{place}: has no text 'answer' or 'completion'")
    return without_lone_surrogates(answer)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
