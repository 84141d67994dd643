"""Asks for exercises and for second solutions, a round of documents at a time, and tries them."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.synthesis.model_written.as_it_stands import document_problem
from megatron_codemix.corpus.synthesis.model_written.exercise import (
    Exercise,
    read_exercise,
    read_solution,
)
from megatron_codemix.corpus.synthesis.model_written.json_in_text import UnreadableError
from megatron_codemix.corpus.synthesis.model_written.prompts import (
    OPENING,
    PREAMBLE,
    exercise_question,
    solution_question,
)
from megatron_codemix.corpus.synthesis.model_written.trial import Tried, try_exercise
from megatron_codemix.corpus.synthesis.verification.batch import Rejected
from megatron_codemix.endpoint.asking import Asking, Reply
from megatron_codemix.endpoint.endpoint import Endpoint
from megatron_codemix.endpoint.kept_replies import KeptReplies, request_key
from megatron_codemix.sandbox.sandbox import Sandbox

_Read = TypeVar("_Read")


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How the model is asked: it does not change what has been answered already."""

    concurrency: int = 4
    """Requests under way at a time."""
    requests_per_minute: float | None = None
    temperature: float = 0.7
    """Part of each request, and so of what its reply is kept under."""
    trials: int = 1
    """Programs that run at a time."""


class Rounds:
    """Of one endpoint. Every reply is on disk before it is looked at."""

    def __init__(
        self,
        endpoint: Endpoint,
        replies: KeptReplies,
        sandbox: Sandbox,
        manner: Manner,
        on_reply: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._manner = manner
        self._sandbox = sandbox
        self._asking = Asking(
            endpoint,
            replies,
            requests_per_minute=manner.requests_per_minute,
            on_reply=on_reply,
        )

    def take(self, documents: Sequence[Document], seed: int) -> list[Tried | Rejected]:
        """One outcome for each document, in order. Raises what `Asking.run` raises."""
        questions = {place: exercise_question(one.text) for place, one in enumerate(documents)}
        found: dict[int, Tried | Rejected] = {}
        exercises: dict[int, Exercise] = {}
        for place, reply in self._replies(questions).items():
            exercise = _read(reply, read_exercise)
            if isinstance(exercise, Rejected):
                found[place] = exercise
            else:
                exercises[place] = exercise
        again = {
            place: solution_question(one.statement, one.name) for place, one in exercises.items()
        }
        pairs: dict[int, tuple[Exercise, str]] = {}
        for place, reply in self._replies(again).items():
            solution = _read(reply, partial(read_solution, name=exercises[place].name))
            if isinstance(solution, Rejected):
                found[place] = Rejected(f"second solution: {solution.reason}", solution.detail)
            else:
                pairs[place] = exercises[place], solution
        found |= self._tried(pairs, seed)
        return [found[place] for place in range(len(documents))]

    def problem_with(self, text: str, tried: Tried) -> str | None:
        """Why the document of an exercise is none; it runs as it stands."""
        return document_problem(self._sandbox, text, tried.exercise.name, tried.tests)

    def _replies(self, questions: Mapping[int, str]) -> dict[int, Reply]:
        bodies = {
            place: self._endpoint.body(
                PREAMBLE, question, opening=OPENING, temperature=self._manner.temperature
            )
            for place, question in questions.items()
        }
        keys = {place: request_key(self._endpoint, body) for place, body in bodies.items()}
        wanted = {keys[place]: body for place, body in bodies.items()}
        self._asking.run(wanted, self._manner.concurrency)
        return {place: self._asking.reply(key) for place, key in keys.items()}

    def _tried(
        self, pairs: Mapping[int, tuple[Exercise, str]], seed: int
    ) -> dict[int, Tried | Rejected]:
        def outcome(pair: tuple[Exercise, str]) -> Tried | Rejected:
            exercise, second = pair
            return try_exercise(exercise, second, self._sandbox, f"{seed}/{exercise.name}")

        with ThreadPoolExecutor(self._manner.trials) as pool:
            return dict(zip(pairs, pool.map(outcome, pairs.values()), strict=True))


def _read(reply: Reply, read: Callable[[str], _Read]) -> "_Read | Rejected":
    if reply.text is None:
        return Rejected("refused by the endpoint", reply.refusal or "")
    try:
        return read(reply.text)
    except UnreadableError as error:
        reason = "cut off" if reply.finish_reason == "length" else str(error)
        return Rejected(reason, reply.text[:200])
