"""Intervals taken greedily, in an order given by a key, unless they clash with one before."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.families.intervals.spans import (
    END,
    LATEST,
    LENGTH,
    START,
    SUBJECTS,
    Span,
    Spans,
    draw_span,
    draw_spans,
    sample_lists,
    values_of,
)
from megatron_codemix.corpus.synthesis.families.intervals.windows import (
    at_most_as_many,
    draw_window_summary,
    rows_of,
    write_summary,
)
from megatron_codemix.corpus.synthesis.families.pieces import (
    Signature,
    add_lines,
    drawn_telling,
    notes_of,
    shuffled_solutions,
)
from megatron_codemix.corpus.synthesis.families.summary import RowWords, Summary
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node
from megatron_codemix.corpus.synthesis.problem import Problem, Solution
from megatron_codemix.corpus.synthesis.values import Value
from megatron_codemix.corpus.synthesis.writing.statement import Task, phrased


@dataclass(frozen=True)
class Selection:
    spans: Spans
    key: Node
    is_descending: bool
    pause: int
    """Time that must lie between two that are taken; 0: they may touch."""
    summary: Summary
    signature: Signature

    def taken(self, spans: Sequence[Span]) -> list[Span]:
        """By always taking the best of those that can still be taken."""
        sign = -1 if self.is_descending else 1
        left = self.spans.kept(spans)
        chosen: list[Span] = []
        while left:
            best = left[0]
            for one in left:
                keys = [sign * self.key.evaluate(values_of(span)) for span in (one, best)]
                if (keys[0], one) < (keys[1], best):
                    best = one
            chosen.append(best)
            left = [
                one
                for one in left
                if one[0] >= best[1] + self.pause or best[0] >= one[1] + self.pause
            ]
        return chosen

    def oracle(self, spans: list[Span]) -> Value:
        return self.summary.apply(rows_of(self.taken(spans)))

    def statement(self, rng: Random) -> str:
        t = self.spans.theme
        key = self.key.phrase(rng, SUBJECTS)
        which = "largest" if self.is_descending else "smallest"
        ties = (
            "among equals, the one that starts earlier comes first, and if they start together, "
            "the one that ends earlier"
        )
        clash = f"overlaps a {t.noun} taken before"
        if self.pause:
            clash = (
                f"overlaps a {t.noun} taken before, or leaves less than {self.pause} {t.unit}s "
                "between the two"
            )
        else:
            clash = f"{clash} (touching is no overlap)"
        steps = [
            rng.choice(
                [
                    f"go through the {t.nouns} by {key}, beginning with the {which} value; {ties}",
                    f"put the {t.nouns} in order of {key}, {which} value first; {ties}",
                ]
            ),
            rng.choice(
                [
                    f"take each {t.noun} in this order unless it {clash}",
                    f"reject, in this order, every {t.noun} that {clash}, and take all others",
                ]
            ),
        ]
        order = "in the order in which they are taken"
        words = RowWords(t.noun, t.nouns, order, "that are taken", "that is taken")
        notes = notes_of([self.spans.test, self.key, *self.summary.nodes()])
        used = self.key.variables() | self.summary.variables()
        model = self.spans.model(rng, also_length="l" in used)
        task = Task(
            name=self.signature.name, given=[self.spans.given()], model=model,
            steps=steps, result=self.summary.say(rng, words, SUBJECTS), notes=notes,
        )  # fmt: skip
        return phrased(rng, task)

    def _gap(self, border: str) -> str:
        return f"{border} + {self.pause}" if self.pause else border

    def _key_code(self, naming: Naming) -> str:
        """A lambda's body over `span`."""
        names = {"s": "span[0]", "e": "span[1]", "l": "(span[1] - span[0])"}
        return f"{self.key.python(naming.renamed(names))}"

    def _sorting(self) -> Solution:
        block, naming = self.signature.block(), Naming({}, 0)
        kept = self.spans.write_kept(block, naming, is_loop=False)
        reverse = ", reverse=True" if self.is_descending else ""
        add_lines(
            block,
            f"""
            ordered = sorted({kept})
            ordered.sort(key=lambda span: {self._key_code(naming)}{reverse})
            taken = []
            for start, end in ordered:
                if all(start >= {self._gap("last")} or first >= {self._gap("end")} """
            """for first, last in taken):
                    taken.append((start, end))
            """,
        )
        write_summary(block, naming, self.summary, "taken", is_loop=False)
        return self.signature.solution("sorting", block, naming)

    def _rounds(self) -> Solution:
        """Takes the best that is left and drops what clashes with it, until nothing is left."""
        block, naming = self.signature.block(), Naming({}, 1, uses_helpers=True)
        kept = self.spans.write_kept(block, naming, is_loop=True)
        function = "max" if self.is_descending else "min"
        add_lines(
            block,
            f"""
            left = sorted({kept})
            taken = []
            while left:
                first, last = {function}(left, key=lambda span: {self._key_code(naming)})
                taken.append((first, last))
                left = [
                    (start, end)
                    for start, end in left
                    if start >= {self._gap("last")} or first >= {self._gap("end")}
                ]
            """,
        )
        write_summary(block, naming, self.summary, "taken", is_loop=True)
        return self.signature.solution("rounds", block, naming)

    def _ranked(self) -> Solution:
        """The key first in each tuple; a list says which positions are still free."""
        block, naming = self.signature.block(), Naming({}, 2)
        kept = self.spans.write_kept(block, naming, is_loop=True)
        names = {"s": "start", "e": "end", "l": "(end - start)"}
        key = self.key.python(naming.renamed(names))
        sign = f"-{key:unary}" if self.is_descending else f"{key}"
        add_lines(
            block,
            f"""
            ranked = sorted(({sign}, start, end) for start, end in {kept})
            is_free = [True] * (max((end for _, _, end in ranked), default=0) + 1)
            taken = []
            for _, start, end in ranked:
                if all(is_free[start:end]):
                    taken.append((start, end))
                    for position in range(max(0, start - {self.pause}), """
            f"""min(len(is_free), end + {self.pause})):
                        is_free[position] = False
            """,
        )
        if not self.pause:
            block.lines = [
                line.replace("range(max(0, start - 0), min(len(is_free), end + 0))",
                             "range(start, end)")
                for line in block.lines
            ]  # fmt: skip
        write_summary(block, naming, self.summary, "taken", is_loop=True)
        return self.signature.solution("ranked", block, naming)

    def problem(self, rng: Random) -> Problem:
        solutions = [self._sorting(), self._rounds(), self._ranked()]
        holes = [self.key.spec(), self.is_descending, self.pause]
        return Problem(
            family="intervals",
            spec=["selection", self.spans.spec(), holes, self.summary.spec()],
            name=self.signature.name,
            parameters=self.signature.parameters,
            returns=self.signature.returns,
            statement=self.statement,
            solutions=shuffled_solutions(rng, solutions),
            oracle=self.oracle,
            properties=at_most_as_many(self.summary, "At most as many are taken as given."),
            inputs=lambda rng: ((one,) for one in self.spans.lists(rng)),
            summary=f"Which {self.spans.theme.nouns} fit together when taken in a fixed order.",
        )


def draw_selection(rng: Random) -> Problem:
    spans = draw_spans(rng, 0.4)
    variables = rng.choice([[END], [START, END], [START, END], [LENGTH]])
    rows = [values_of(draw_span(rng)) for _ in range(40)]
    key = drawn_telling(lambda: draw_integer(rng, variables, 1), rows)
    if len(variables) == 1 and key.rule is not None and key.rule.aspect in ("shift", "scale"):
        raise NothingDrawn
    pause = rng.choice([0, 0, 0, rng.randint(1, 3)])
    is_descending = rng.random() < 0.35
    draft = Selection(spans, key, is_descending, pause, Summary("count", None, key),
                      Signature("", (), spans.parameter().type))  # fmt: skip
    seen = [rows_of(draft.taken(one)) for one in sample_lists(rng)]
    summary = draw_window_summary(rng, seen, LATEST)
    name = f"{summary.head()}_{rng.choice(['taken', 'chosen', 'selected'])}_{spans.theme.nouns}"
    signature = Signature(name, (spans.parameter(),), summary.returns)
    return Selection(spans, key, is_descending, pause, summary, signature).problem(rng)
