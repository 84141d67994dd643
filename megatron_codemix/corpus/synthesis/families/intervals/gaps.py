"""The free windows that intervals leave open."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.families.intervals.spans import (
    LATEST,
    SUBJECTS,
    Span,
    Spans,
    draw_spans,
    sample_lists,
)
from megatron_codemix.corpus.synthesis.families.intervals.windows import (
    draw_window_summary,
    rows_of,
    write_summary,
)
from megatron_codemix.corpus.synthesis.families.pieces import (
    Signature,
    add_lines,
    notes_of,
    shuffled_solutions,
)
from megatron_codemix.corpus.synthesis.families.summary import RowWords, Summary
from megatron_codemix.corpus.synthesis.grammar.node import Naming
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, Value
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased


def free_windows(spans: Sequence[Span], limit: int) -> list[Span]:
    """All pairs of borders between which nothing is taken, and that cannot be widened."""
    is_free = [all(not s <= at < e for s, e in spans) for at in range(limit)]
    return [
        (first, last)
        for first in range(limit)
        for last in range(first + 1, limit + 1)
        if all(is_free[first:last])
        and (first == 0 or not is_free[first - 1])
        and (last == limit or not is_free[last])
    ]


@dataclass(frozen=True)
class Gaps:
    spans: Spans
    summary: Summary
    signature: Signature

    def oracle(self, spans: list[Span], limit: int) -> Value:
        return self.summary.apply(rows_of(free_windows(self.spans.kept(spans), limit)))

    def statement(self, rng: Random) -> str:
        t = self.spans.theme
        model = [
            *self.spans.model(rng),
            rng.choice(
                [
                    f"we look at the time from {t.unit} 0 up to, but not including, {t.unit} "
                    f"`limit`; {t.nouns} may reach beyond it",
                    f"only what lies between 0 and `limit` (which is not included) is of interest; "
                    f"the {t.nouns} may start or end after it",
                ]
            ),
            rng.choice(
                [
                    f"a free window is a stretch of {t.unit}s in which there is no {t.noun}, made "
                    f"as long as possible; it is never empty",
                    f"a free window goes from the first to behind the last of a number of {t.unit}s"
                    f" in a row without any {t.noun}, and is as long as possible",
                ]
            ),
        ]
        notes = notes_of([self.spans.test, *self.summary.nodes()])
        if self.summary.variables() & {"s", "e"}:
            notes.insert(
                0,
                f"a free window starts at its first {t.unit}; its end is the {t.unit} behind its "
                "last one",
            )
        if "l" in self.summary.variables():
            notes.insert(0, f"the length of a free window is its number of {t.unit}s")
        words = RowWords("free window", "free windows", "from the earliest to the latest")
        task = Task(
            name=self.signature.name,
            given=[self.spans.given(), Given("limit", "a positive integer")],
            model=model, result=self.summary.say(rng, words, SUBJECTS), notes=notes,
        )  # fmt: skip
        return phrased(rng, task)

    def _cursor(self) -> Solution:
        block, naming = self.signature.block(), Naming({}, 0)
        kept = self.spans.write_kept(block, naming, is_loop=False)
        add_lines(
            block,
            f"""
            windows = []
            position = 0
            for start, end in sorted({kept}):
                if position < min(start, limit):
                    windows.append((position, min(start, limit)))
                position = max(position, end)
            if position < limit:
                windows.append((position, limit))
            """,
        )
        write_summary(block, naming, self.summary, "windows", is_loop=False)
        return self.signature.solution("sorting", block, naming)

    def _marks(self) -> Solution:
        block, naming = self.signature.block(), Naming({}, 1, uses_helpers=True)
        kept = self.spans.write_kept(block, naming, is_loop=True)
        add_lines(
            block,
            f"""
            is_taken = [False] * limit
            for start, end in {kept}:
                for position in range(start, min(end, limit)):
                    is_taken[position] = True
            windows = []
            position = 0
            while position < limit:
                first = position
                while position < limit and not is_taken[position]:
                    position += 1
                if first < position:
                    windows.append((first, position))
                position += 1
            """,
        )
        write_summary(block, naming, self.summary, "windows", is_loop=True)
        return self.signature.solution("marks", block, naming)

    def _cutting(self) -> Solution:
        """Each interval is cut out of what is still free."""
        block, naming = self.signature.block(), Naming({}, 2)
        kept = self.spans.write_kept(block, naming, is_loop=True)
        add_lines(
            block,
            f"""
            windows = [(0, limit)]
            for start, end in {kept}:
                pieces = []
                for first, last in windows:
                    pieces.append((first, min(last, start)))
                    pieces.append((max(first, end), last))
                windows = [(first, last) for first, last in pieces if first < last]
            """,
        )
        write_summary(block, naming, self.summary, "windows", is_loop=False)
        return self.signature.solution("cutting", block, naming)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield [], 1
        for spans in self.spans.lists(rng):
            yield spans, rng.randint(6, LATEST)

    def problem(self, rng: Random) -> Problem:
        solutions = [self._cursor(), self._marks(), self._cutting()]
        return Problem(
            family="intervals",
            spec=["gaps", self.spans.spec(), self.summary.spec()],
            name=self.signature.name,
            parameters=self.signature.parameters,
            returns=self.signature.returns,
            statement=self.statement,
            solutions=shuffled_solutions(rng, solutions),
            oracle=self.oracle,
            properties=(),
            inputs=self.inputs,
            summary=f"The free windows that {self.spans.theme.nouns} leave.",
        )


def draw_gaps(rng: Random) -> Problem:
    spans = draw_spans(rng)
    seen = [rows_of(free_windows(spans.kept(one), 25)) for one in sample_lists(rng)]
    summary = draw_window_summary(rng, seen, LATEST)
    name = f"{summary.head()}_{rng.choice(['free', 'open', 'unused'])}_windows"
    parameters = (spans.parameter(), Parameter("limit", Int(1, LATEST)))
    return Gaps(spans, summary, Signature(name, parameters, summary.returns)).problem(rng)
