"""Statements put together from their parts in one of several layouts.

A family says what is given, how things are called (`model`), what is to be done in which order
(`steps`), what is returned and what else decides the answer (`notes`). All of it stands in every
layout; only order, connecting words and typography differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.grammar.english import count_word, listed, sentence


@dataclass(frozen=True)
class Given:
    """A parameter in words: `words` as in "`scores`, a list of integers"."""

    name: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Task:
    name: str
    given: Sequence[Given]
    result: str
    """A noun phrase behind "return": "the sum of ..."; clauses may follow behind a semicolon."""
    model: Sequence[str] = ()
    """Sentences that say what the data mean, or define words used below."""
    steps: Sequence[str] = ()
    """Imperative clauses, in order: "keep only the scores that are even"."""
    notes: Sequence[str] = ()
    """Sentences: edge cases, ties, what may be relied on."""


def phrased(rng: Random, task: Task) -> str:
    """The statement in Markdown."""
    layouts: list[Callable[[Random, Task], list[str]]] = [
        _function_first,
        _data_first,
        _short_order,
    ]
    paragraphs = rng.choice(layouts)(rng, task)
    return "\n\n".join(one for one in paragraphs if one)


def _call(task: Task) -> str:
    return f"`{task.name}({', '.join(one.name for one in task.given)})`"


def _function_first(rng: Random, task: Task) -> list[str]:
    """The function, what it takes; model; steps; what it returns."""
    verb = rng.choice(["Write", "Implement", "Define"])
    given = _described(task)
    takes = rng.choice(["takes", "receives", "is given"])
    opening = f"{verb} a function `{task.name}` that {takes} {given}"
    if not task.steps and not task.model:
        ending = f"{opening}, and that returns {task.result}"
        return [sentence(ending), _sentences(task.notes)]
    returns = f"{rng.choice(['Return', 'The function returns', 'It must return'])} {task.result}"
    return [
        sentence(opening),
        _sentences(task.model),
        _steps(rng, task),
        " ".join([sentence(returns), *map(sentence, task.notes)]),
    ]


def _data_first(rng: Random, task: Task) -> list[str]:
    """What is given, then the function."""
    given = _described(task)
    start = rng.choice(["You are given", "Suppose you have", "The input is", "You have"])
    ask = rng.choice(
        [
            f"Write {_call(task)} so that it returns",
            f"Implement {_call(task)}, which returns",
            f"Your function {_call(task)} returns",
            f"The task of {_call(task)} is to return",
        ]
    )
    first = " ".join([sentence(f"{start} {given}"), _sentences(task.model)]).strip()
    return [first, _steps(rng, task), sentence(f"{ask} {task.result}"), _sentences(task.notes)]


def _short_order(rng: Random, task: Task) -> list[str]:
    """The result first where there are no steps, everything in one or two paragraphs."""
    name = f"`{task.name}`"
    given = listed([f"`{one.name}` ({one.words})" for one in task.given])
    start = rng.choice(
        [
            f"Complete the function {name} with the {_parameters(task)} {given}",
            f"Write {name}, a function of {given}",
            f"Create a function called {name}. Its {_parameters(task)}: {given}",
        ]
    )
    body = [sentence(start), _sentences(task.model)]
    if task.steps:
        body.append(_prose(rng, task.steps))
    returns = rng.choice(["It returns", "Return", "The answer is", "Its result is"])
    body.append(sentence(f"{returns} {task.result}"))
    return [" ".join(one for one in body if one), _sentences(task.notes)]


def _described(task: Task) -> str:
    """ "`a`, an integer, and `b`, a text"."""
    parts = [f"`{one.name}`, {one.words}" for one in task.given]
    return f"{', '.join(parts[:-1])}, and {parts[-1]}" if len(parts) > 1 else parts[0]


def _parameters(task: Task) -> str:
    return "parameter" if len(task.given) == 1 else "parameters"


def _steps(rng: Random, task: Task) -> str:
    if not task.steps:
        return ""
    if len(task.steps) == 1 or rng.random() < 0.45:
        return _prose(rng, task.steps)
    marks = "*" if rng.random() < 0.3 else "1"
    many = count_word(len(task.steps))
    head = rng.choice(
        [
            "Do the following, in this order:",
            f"The work is done in {many} steps:",
            "Proceed like this:",
            f"Apply these {many} steps one after the other:",
            "Step by step:",
        ]
    )
    lines = [
        f"{'-' if marks == '*' else f'{number}.'} {sentence(step)}"
        for number, step in enumerate(task.steps, start=1)
    ]
    return "\n".join([head, "", *lines])


def _prose(rng: Random, steps: Sequence[str]) -> str:
    if len(steps) == 1:
        start = rng.choice(
            ["First, ", "Begin as follows: ", "To start with, ", "Before anything else, "]
        )
        return sentence(f"{start}{steps[0]}")
    sentences = [
        sentence(f"{rng.choice(['First, ', 'To begin with, ', 'Start like this: '])}{steps[0]}")
    ]
    middle = ["Then ", "Next, ", "After that, ", "Now "]
    sentences += [sentence(f"{rng.choice(middle)}{step}") for step in steps[1:-1]]
    last = rng.choice(["Finally, ", "Then ", "In the end, ", "As the last step, "])
    return " ".join([*sentences, sentence(f"{last}{steps[-1]}")])


def _sentences(parts: Sequence[str]) -> str:
    return " ".join(map(sentence, parts))
