"""Intervals that overlap, touch or lie close together are joined into one."""

from collections.abc import Sequence
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
    at_most_as_many,
    draw_window_summary,
    in_units,
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
from megatron_codemix.corpus.synthesis.problem import Problem, Solution
from megatron_codemix.corpus.synthesis.values import Value
from megatron_codemix.corpus.synthesis.writing.statement import Task, phrased


def merged_spans(spans: Sequence[Span], gap: int) -> list[Span]:
    """Components of the relation "at most `gap` apart", by spreading labels."""
    label = list(range(len(spans)))
    for _ in spans:
        for i, (s, e) in enumerate(spans):
            for j, (t, f) in enumerate(spans):
                if t - e <= gap and s - f <= gap:
                    label[i] = label[j] = min(label[i], label[j])
    groups = [[one for i, one in enumerate(spans) if label[i] == k] for k in set(label)]
    return sorted((min(s for s, _ in group), max(e for _, e in group)) for group in groups)


@dataclass(frozen=True)
class Merged:
    spans: Spans
    gap: int
    """-1: they must have a point in common; 0: touching is enough; more: that far apart."""
    summary: Summary
    signature: Signature

    def oracle(self, spans: list[Span]) -> Value:
        return self.summary.apply(rows_of(merged_spans(self.spans.kept(spans), self.gap)))

    def statement(self, rng: Random) -> str:
        t = self.spans.theme
        when = {
            -1: f"have at least one {t.unit} in common; {t.nouns} that merely touch stay apart",
            0: f"overlap, or if one ends at the very {t.unit} at which the other starts",
        }.get(
            self.gap,
            f"overlap or touch, or if the later one starts at most {self.gap} {t.unit}s after "
            "the earlier one ends",
        )
        union = "so that each chain of them becomes a single block, which reaches from their "
        union += "earliest start to their latest end"
        steps = [
            rng.choice(
                [
                    f"join all {t.nouns} that belong together: two belong together if they {when}. "
                    f"Joining goes on {union}",
                    f"unite {t.nouns} into blocks. Two {t.nouns} are united if they {when}. "
                    f"This is repeated {union}",
                ]
            )
        ]
        words = RowWords("block", "blocks", "from the earliest to the latest")
        result = self.summary.say(rng, words, SUBJECTS)
        notes = notes_of([self.spans.test, *self.summary.nodes()])
        model = self.spans.model(rng)
        if "l" in self.summary.variables():
            notes.insert(0, "the length of a block is its end minus its start")
        task = Task(
            name=self.signature.name, given=[self.spans.given()], model=model,
            steps=steps, result=result, notes=notes,
        )  # fmt: skip
        return phrased(rng, task)

    def _sweep(self) -> Solution:
        block, naming = self.signature.block(), Naming({}, 0)
        kept = self.spans.write_kept(block, naming, is_loop=False)
        merged = block.name("merged", "blocks")
        add_lines(
            block,
            f"""
            {merged} = []
            for start, end in sorted({kept}):
                if {merged} and start {in_units(f"{merged}[-1][1]", self.gap)}:
                    first, last = {merged}.pop()
                    {merged}.append((first, max(last, end)))
                else:
                    {merged}.append((start, end))
            """,
        )
        write_summary(block, naming, self.summary, merged, is_loop=False)
        return self.signature.solution("sorting", block, naming)

    def _insertion(self) -> Solution:
        block, naming = self.signature.block(), Naming({}, 1, uses_helpers=True)
        kept = self.spans.write_kept(block, naming, is_loop=True)
        add_lines(
            block,
            f"""
            blocks = []
            for start, end in {kept}:
                low, high = start, end
                apart = []
                for first, last in blocks:
                    if first {in_units("high", self.gap)} and low {in_units("last", self.gap)}:
                        low = min(low, first)
                        high = max(high, last)
                    else:
                        apart.append((first, last))
                apart.append((low, high))
                blocks = apart
            blocks.sort()
            """,
        )
        write_summary(block, naming, self.summary, "blocks", is_loop=True)
        return self.signature.solution("insertion", block, naming)

    def _walk(self) -> Solution:
        """From each start to the farthest end that can be reached from it."""
        block, naming = self.signature.block(), Naming({}, 2)
        kept = self.spans.write_kept(block, naming, is_loop=False)
        add_lines(
            block,
            f"""
            starts = sorted(start for start, _ in {kept})
            ends = sorted(end for _, end in {kept})
            blocks = []
            first = 0
            for place in range(len(starts)):
                is_last = place + 1 == len(starts)
                if is_last or starts[place + 1] {in_units("ends[place]", self.gap, turned=True)}:
                    blocks.append((starts[first], ends[place]))
                    first = place + 1
            """,
        )
        write_summary(block, naming, self.summary, "blocks", is_loop=False)
        return self.signature.solution("starts and ends", block, naming)

    def problem(self, rng: Random) -> Problem:
        solutions = [self._sweep(), self._insertion(), self._walk()]
        return Problem(
            family="intervals",
            spec=["merged", self.spans.spec(), self.gap, self.summary.spec()],
            name=self.signature.name,
            parameters=self.signature.parameters,
            returns=self.signature.returns,
            statement=self.statement,
            solutions=shuffled_solutions(rng, solutions),
            oracle=self.oracle,
            properties=at_most_as_many(self.summary, "There are at most as many as given."),
            inputs=lambda rng: ((one,) for one in self.spans.lists(rng)),
            summary=f"What remains after {self.spans.theme.nouns} are joined.",
        )


def draw_merged(rng: Random) -> Problem:
    spans = draw_spans(rng)
    gap = rng.choice([-1, 0, 0, rng.randint(1, 4)])
    seen = [rows_of(merged_spans(spans.kept(one), gap)) for one in sample_lists(rng)]
    summary = draw_window_summary(rng, seen, LATEST)
    name = f"{summary.head()}_{rng.choice(['merged', 'joined', 'united'])}_{spans.theme.nouns}"
    signature = Signature(name, (spans.parameter(),), summary.returns)
    return Merged(spans, gap, summary, signature).problem(rng)
