"""A solution in JavaScript that gives what the Python gives: translated, run, compared."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from megatron_codemix.corpus.synthesis.translation.engine import Engine, Failed, Program, Ran
from megatron_codemix.corpus.synthesis.translation.forms import (
    JsonValue,
    TypeForm,
    ordered,
    read_arguments,
    read_literal,
    to_json,
)
from megatron_codemix.corpus.synthesis.translation.refusal import UntranslatableError
from megatron_codemix.corpus.synthesis.translation.translate import Draft, Translation

_LEAST_SEEN = 8
"""A place whose sign is not proved is written plainly once it had so many integers, all fitting."""


@dataclass(frozen=True)
class Case:
    """Source text of the arguments, as between the brackets of a call, and of the result."""

    arguments: str
    expected: str


@dataclass(frozen=True)
class Task:
    """A Python solution that is to be translated, and the cases that it is known to solve."""

    source: str
    entry: str
    cases: Sequence[Case]
    lows: Mapping[str, int]
    """What the integer parameters are at least, where that is known."""


@dataclass(frozen=True)
class Unlike:
    """Why there is no translation: `reason` is the same for all of a kind."""

    reason: str
    detail: str


def translate_all(tasks: Sequence[Task], engine: Engine) -> list[Translation | Unlike]:
    """In the order of the tasks; a translation only where it gives the expected result in every
    case, and every integer on the way is exact.

    The checked text runs first. Where the sign of an integer decides between two ways to write and
    is not proved, what the cases had at that place decides.
    """
    drafts: dict[int, Draft] = {}
    found: dict[int, Translation | Unlike] = {}
    for place, task in enumerate(tasks):
        try:
            drafts[place] = Draft(task.source, task.entry, task.lows)
        except UntranslatableError as error:
            found[place] = Unlike("not translatable", str(error))
    seen = _run_all({place: draft.checked for place, draft in drafts.items()}, tasks, engine)
    finished: dict[int, Translation] = {}
    for place, ran in seen.items():
        if isinstance(ran, Unlike):
            found[place] = ran
        else:
            finished[place] = drafts[place].finished(_plain_sites(ran))
    for place, ran in _run_all(finished, tasks, engine).items():
        found[place] = ran if isinstance(ran, Unlike) else finished[place]
    return [found[place] for place in range(len(tasks))]


def _plain_sites(ran: Ran) -> frozenset[int]:
    return frozenset(
        site for site, (count, is_plain) in ran.sites.items() if is_plain and count >= _LEAST_SEEN
    )


def _run_all(
    translations: Mapping[int, Translation], tasks: Sequence[Task], engine: Engine
) -> dict[int, Ran | Unlike]:
    """By the place of the task: what was seen, or why it is not what Python gives."""
    found: dict[int, Ran | Unlike] = {}
    programs: dict[int, Program] = {}
    for place, translation in translations.items():
        try:
            programs[place] = program_of(translation, tasks[place].cases)
        except ValueError as error:
            found[place] = Unlike("case", str(error))
    outcomes = engine.run(list(programs.values()))
    for (place, program), outcome in zip(programs.items(), outcomes, strict=True):
        found[place] = compared(program, tasks[place].cases, outcome)
    return found


def program_of(translation: Translation, cases: Sequence[Case]) -> Program:
    """Raises ValueError for a case that does not fit the types."""
    return Program(
        text=translation.text,
        entry=translation.entry,
        exports=translation.exports,
        parameters=translation.parameters,
        returns=translation.returns,
        calls=[arguments_of(translation.parameters, case.arguments) for case in cases],
    )


def arguments_of(forms: Sequence[TypeForm], text: str) -> list[JsonValue]:
    """Raises ValueError where they do not fit the types."""
    values = read_arguments(text)
    if len(values) != len(forms):
        raise ValueError(f"{len(values)} arguments for {len(forms)} parameters: {text[:80]}")
    return [to_json(form, value) for form, value in zip(forms, values, strict=True)]


def compared(program: Program, cases: Sequence[Case], outcome: Ran | Failed) -> Ran | Unlike:
    """The outcome where every result is the expected one, as JSON."""
    if isinstance(outcome, Failed):
        return Unlike("fails", outcome.reason)
    for case, result in zip(cases, outcome.results, strict=True):
        try:
            expected = to_json(program.returns, read_literal(case.expected))
            given = ordered(program.returns, result)
        except (ValueError, TypeError) as error:
            return Unlike("differs", f"{case.arguments}: {error}")
        if json.dumps(ordered(program.returns, expected)) != json.dumps(given):
            return Unlike("differs", f"{case.arguments}: {json.dumps(given)}, not {case.expected}")
    return outcome
