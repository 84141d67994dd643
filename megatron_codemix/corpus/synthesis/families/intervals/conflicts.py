"""For each interval, how many of the others it clashes with."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.families.intervals.spans import (
    LONGEST,
    SUBJECTS,
    Span,
    Spans,
    draw_span,
    draw_spans,
    sample_lists,
)
from megatron_codemix.corpus.synthesis.families.pieces import (
    Signature,
    add_lines,
    notes_of,
    observed_variable,
    shuffled_solutions,
)
from megatron_codemix.corpus.synthesis.families.summary import RowWords, Summary, draw_summary
from megatron_codemix.corpus.synthesis.grammar.drawing import draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, Observed, Value
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Task, phrased

MOST = 8


def common_points(one: Span, other: Span) -> int:
    return len(set(range(*one)) & set(range(*other)))


@dataclass(frozen=True)
class Conflicts:
    spans: Spans
    clash: Node | None
    """Of the overlap `o`, at least 1; None: any overlap is a clash."""
    summary: Summary
    signature: Signature

    def rows(self, spans: Sequence[Span]) -> list[dict[str, int]]:
        kept = self.spans.kept(spans)
        found = []
        for place, one in enumerate(kept):
            overlaps = [common_points(one, other) for other in kept[:place] + kept[place + 1 :]]
            clashes = [o for o in overlaps if o > 0]
            if self.clash is not None:
                clashes = [o for o in clashes if self.clash.evaluate({"o": o})]
            found.append({"l": one[1] - one[0], "s": one[0], "c": len(clashes)})
        return found

    def oracle(self, spans: list[Span]) -> Value:
        return self.summary.apply(self.rows(spans))

    def statement(self, rng: Random) -> str:
        t = self.spans.theme
        overlap = (
            f"the overlap of two {t.nouns} is the number of {t.unit}s that belong to both of them"
        )
        rule = "it is at least 1"
        if self.clash is not None:
            clause = self.clash.condition(rng, {"o": Subject("it", True)}).clause()
            rule = f"it is at least 1 and, besides, {clause}"
            if len(self.clash.condition(rng, {"o": Subject("it", True)}).parts) > 1:
                rule = f"it is at least 1 and the following holds: {clause}"
        model = [
            *self.spans.model(rng, also_length="l" in self.summary.variables()),
            overlap,
            f"they clash if {rule}; a {t.noun} never clashes with itself, but it does with an "
            "equal one elsewhere in the list if the rule says so",
        ]
        subjects = {**SUBJECTS, "c": Subject(f"the number of {t.nouns} that clash with it")}
        words = RowWords(t.noun, t.nouns, "in the order of the list")
        if self.spans.test is not None:
            order = words.order
            words = RowWords(t.noun, t.nouns, order, "that count", "that counts")
            model.append(f"{t.nouns} that do not count clash with nothing")
        notes = notes_of([self.spans.test, self.clash, *self.summary.nodes()])
        task = Task(
            name=self.signature.name, given=[self.spans.given()], model=model,
            result=self.summary.say(rng, words, subjects), notes=notes,
        )  # fmt: skip
        return phrased(rng, task)

    def _clash_code(self, naming: Naming, name: str) -> str:
        if self.clash is None:
            return f"{name} > 0"
        test = self.clash.python(naming.renamed({"o": name}))
        return f"{name} > 0 and {test:and}"

    def _end(self, block: Block, naming: Naming, *, is_loop: bool, kept: str) -> None:
        used = self.summary.variables() - {"c"}
        names = {"c": "clashes", "s": "start", "l": "length"}
        block.names |= {"clashes", "start", "length"}
        source = "clashes in counts"
        if "s" in used:
            block.add(f"starts = [start for start, _ in {kept}]")
            source = "start, clashes in zip(starts, counts)"
        elif "l" in used:
            block.add(f"lengths = [end - start for start, end in {kept}]")
            source = "length, clashes in zip(lengths, counts)"
        if "c" not in self.summary.variables() and used:
            source = "start in starts" if "s" in used else "length in lengths"
        self.summary.write(block, naming.renamed(names), source, is_loop=is_loop)

    def _pairs(self) -> Solution:
        """Each pair once; both of a clash are counted up."""
        block, naming = self.signature.block(), Naming({}, 0)
        kept = self.spans.write_kept(block, naming, is_loop=False)
        add_lines(
            block,
            f"""
            counts = [0] * len({kept})
            for i in range(len({kept})):
                for j in range(i):
                    first = max({kept}[i][0], {kept}[j][0])
                    last = min({kept}[i][1], {kept}[j][1])
                    overlap = last - first
                    if {self._clash_code(naming, "overlap")}:
                        counts[i] += 1
                        counts[j] += 1
            """,
        )
        self._end(block, naming, is_loop=False, kept=kept)
        return self.signature.solution("pairs", block, naming)

    def _function(self) -> Solution:
        """With a function for the overlap; each interval looks at all others."""
        block, naming = self.signature.block(), Naming({}, 1, uses_helpers=True)
        kept = self.spans.write_kept(block, naming, is_loop=True)
        clash = self._clash_code(naming, "shared")
        part = (
            "def overlap(one: tuple[int, int], other: tuple[int, int]) -> int:\n"
            '    """Length of what two spans have in common; 0 if they have nothing."""\n'
            "    return max(0, min(one[1], other[1]) - max(one[0], other[0]))"
        )
        add_lines(
            block,
            f"""
            counts = []
            for i, one in enumerate({kept}):
                clashes = 0
                for j, other in enumerate({kept}):
                    shared = overlap(one, other)
                    if i != j and {clash}:
                        clashes += 1
                counts.append(clashes)
            """,
        )
        self._end(block, naming, is_loop=True, kept=kept)
        return self.signature.solution("helpers", block, naming, parts=[part])

    def _positions(self) -> Solution:
        """Counts common positions one by one."""
        block, naming = self.signature.block(), Naming({}, 2)
        kept = self.spans.write_kept(block, naming, is_loop=False)
        clash = self._clash_code(naming, "common")
        add_lines(
            block,
            f"""
            counts = []
            for start, end in {kept}:
                clashes = -1 if {self._itself(naming)} else 0
                for first, last in {kept}:
                    common = sum(1 for position in range(start, end) if first <= position < last)
                    if {clash}:
                        clashes += 1
                counts.append(clashes)
            """,
        )
        self._end(block, naming, is_loop=True, kept=kept)
        return self.signature.solution("positions", block, naming)

    def _itself(self, naming: Naming) -> str:
        """Whether an interval would be counted as clashing with itself."""
        if self.clash is None:
            return "end > start"
        return f"{self.clash.python(naming.renamed({'o': '(end - start)'}))}"

    def problem(self, rng: Random) -> Problem:
        solutions = [self._pairs(), self._function()]
        if self.clash is not None:
            solutions.append(self._positions())
        holes = [self.clash and self.clash.spec()]
        return Problem(
            family="intervals",
            spec=["conflicts", self.spans.spec(), holes, self.summary.spec()],
            name=self.signature.name,
            parameters=self.signature.parameters,
            returns=self.signature.returns,
            statement=self.statement,
            solutions=shuffled_solutions(rng, solutions),
            oracle=self.oracle,
            properties=(),
            inputs=lambda rng: ((one,) for one in self.spans.lists(rng)),
            summary=f"How the {self.spans.theme.nouns} of a list clash with one another.",
        )


def draw_conflicts(rng: Random) -> Problem:
    spans = draw_spans(rng, 0.5)
    clash = None
    overlaps = [common_points(draw_span(rng), draw_span(rng)) for _ in range(300)]
    met = tuple(one for one in overlaps if one)
    if rng.random() < 0.75:
        overlap = Variable("o", Observed(Int(1, LONGEST), met), "int", (1, LONGEST))
        clash = draw_test(rng, [overlap], rng.choice([1, 2]))
    draft = Conflicts(spans, clash, Summary("count", None, None), Signature("", (), Int()))  # type: ignore[arg-type]  # only its rows are asked for
    samples = [draft.rows(one) for one in sample_lists(rng)]
    rows = [row for one in samples for row in one]
    clashes = observed_variable("c", rows, 0, MOST)
    other = rng.choice([
        observed_variable("l", rows, 1, LONGEST), observed_variable("s", rows, 0, 30),
    ])  # fmt: skip
    variables = [clashes] if rng.random() < 0.45 else [clashes, other]
    summary = draw_summary(rng, variables, samples)
    name = f"{summary.head()}_{rng.choice(['clashes', 'conflicts'])}_of_{spans.theme.nouns}"
    signature = Signature(name, (spans.parameter(),), summary.returns)
    return Conflicts(spans, clash, summary, signature).problem(rng)
