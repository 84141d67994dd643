"""How much lies over each point: every interval adds something to the points that it covers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.families.intervals.spans import (
    SUBJECTS,
)
from megatron_codemix.corpus.synthesis.families.pieces import (
    Signature,
    add_lines,
    notes_of,
    observed_variable,
    shuffled_solutions,
)
from megatron_codemix.corpus.synthesis.families.summary import RowWords, Summary, draw_summary
from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable, leaf
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, ListOf, TupleOf, Value
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Load = tuple[int, int, int]
MOST_POINTS = 14


@dataclass(frozen=True)
class Setting:
    noun: str
    nouns: str
    point: str
    points: str
    amount: str
    says: str
    """What a tuple means, behind "each tuple is"."""


SETTINGS = (
    Setting("booking", "bookings", "night", "nights", "guests",
            "a booking for a number of guests"),
    Setting("job", "jobs", "slot", "slots", "cores", "a job that needs a number of cores"),
    Setting("trip", "trips", "stop", "stops", "riders", "a trip made by a group of riders"),
    Setting("lamp", "lamps", "metre", "metres", "brightness", "a lamp of a certain brightness"),
    Setting("subscription", "subscriptions", "month", "months", "fee",
            "a subscription with a monthly fee"),
    Setting("cloud", "clouds", "mile", "miles", "rain", "a cloud that brings some rain"),
)  # fmt: skip
AMOUNT = Variable("a", Int(1, 12), "int", (1, 12))
LENGTH = Variable("l", Int(1, 8), "int", (1, MOST_POINTS))


def draw_load(rng: Random, size: int) -> Load:
    start = rng.randrange(size)
    end = min(size, start + rng.randint(1, 8))
    return start, end, rng.randint(1, 12)


@dataclass(frozen=True)
class Coverage:
    setting: Setting
    test: Node | None
    added: Node | None
    """What each adds to its points: of the amount; None: the amount itself."""
    summary: Summary
    signature: Signature

    def levels(self, size: int, loads: Sequence[Load]) -> list[dict[str, int]]:
        """Point by point; each asks every load."""
        rows = []
        for point in range(size):
            level = 0
            for start, end, amount in loads:
                values = {"a": amount, "l": end - start}
                if start <= point < end and (self.test is None or self.test.evaluate(values)):
                    level += amount if self.added is None else self.added.evaluate(values)
            rows.append({"p": point, "v": level})
        return rows

    def oracle(self, size: int, loads: list[Load]) -> Value:
        return self.summary.apply(self.levels(size, loads))

    def statement(self, rng: Random) -> str:
        s = self.setting
        size = self.signature.parameters[0].name
        subjects = {"a": Subject(f"`{s.amount}`"), "l": SUBJECTS["l"]}
        model = [
            f"the {s.points} are numbered from 0 to `{size} - 1`",
            f"each tuple is {s.says}: it covers the {s.points} from `first` up to, but not "
            f"including, `behind`, where `0 <= first < behind <= {size}`",
        ]
        holes = [one for one in (self.test, self.added) if one is not None]
        used = set().union(*(one.variables() for one in holes)) if holes else set()
        if "l" in used:
            model.append(f"the length of a {s.noun} is the number of {s.points} that it covers")
        if self.test is not None:
            clause = self.test.condition(rng, subjects).clause()
            model.append(
                rng.choice(
                    [f"skip every {s.noun} unless {clause}", f"a {s.noun} counts only if {clause}"]
                )
            )
        of = f"`{s.amount}`" if self.added is None else self.added.phrase(rng, subjects)
        model.append(
            rng.choice(
                [
                    f"the level of a {s.point} is 0 to begin with, and each {s.noun} that counts "
                    f"and covers it adds {of} to it",
                    f"the level of a {s.point} is the sum, over the {s.nouns} that count and cover "
                    f"it, of {of} (0 without any)",
                ]
                if self.test is not None
                else [
                    f"the level of a {s.point} is 0 to begin with, and each {s.noun} that covers "
                    f"it adds {of} to it",
                ]
            )
        )
        rows = RowWords(s.point, s.points, "in ascending order")
        seen = {"v": Subject("the level"), "p": Subject(f"the number of the {s.point}")}
        given = [
            Given(size, f"the number of {s.points} (at least 1)"),
            Given(s.nouns, f"a list of tuples of three integers `(first, behind, {s.amount})`"),
        ]
        task = Task(
            name=self.signature.name, given=given, model=model,
            result=self.summary.say(rng, rows, seen),
            notes=notes_of([*holes, *self.summary.nodes()]),
        )  # fmt: skip
        return phrased(rng, task)

    def _code(self, naming: Naming) -> tuple[str, str, str]:
        """The loop's header, lines in front of what follows, what is added."""
        s = self.setting
        names = naming.renamed({"a": s.amount, "l": "length"})
        holes = [one for one in (self.test, self.added) if one is not None]
        used = set().union(*(one.variables() for one in holes)) if holes else set()
        lines = ["length = behind - first"] if "l" in used else []
        if self.test is not None:
            lines.append(f"if {negated(self.test.python(names))}:")
            lines.append("    continue")
        added = s.amount if self.added is None else self.added.python(names).text
        return f"for first, behind, {s.amount} in {s.nouns}:", "\n".join(lines), added

    def _differences(self) -> Solution:
        block, naming = self.signature.block(), Naming({}, 0)
        header, lines, added = self._code(naming)
        size = self.signature.parameters[0].name
        block.add(f"change = [0] * ({size} + 1)")
        with block.inside(header):
            if lines:
                add_lines(block, lines)
            if not added.isidentifier():
                block.add(f"added = {added}")
                added = "added"
            block.add(f"change[first] += {added}")
            block.add(f"change[behind] -= {added}")
        add_lines(
            block,
            f"""
            levels = []
            level = 0
            for point in range({size}):
                level += change[point]
                levels.append(level)
            """,
        )
        self._end(block, naming, is_loop=False)
        return self.signature.solution("differences", block, naming)

    def _direct(self) -> Solution:
        block, naming = self.signature.block(), Naming({}, 1, uses_helpers=True)
        header, lines, added = self._code(naming)
        size = self.signature.parameters[0].name
        block.add(f"levels = [0] * {size}")
        with block.inside(header):
            if lines:
                add_lines(block, lines)
            with block.inside("for point in range(first, behind):"):
                block.add(f"levels[point] += {added}")
        self._end(block, naming, is_loop=True)
        return self.signature.solution("loop", block, naming)

    def _points(self) -> Solution:
        """Point by point, over all intervals."""
        block, naming = self.signature.block(), Naming({}, 2)
        header, lines, added = self._code(naming)
        size = self.signature.parameters[0].name
        block.add("effective = []")
        with block.inside(header):
            if lines:
                add_lines(block, lines)
            block.add(f"effective.append((first, behind, {added}))")
        block.add("levels = []")
        with block.inside(f"for point in range({size}):"):
            block.add(
                "levels.append(sum(share for first, behind, share in effective "
                "if first <= point < behind))"
            )
        self._end(block, naming, is_loop=False)
        return self.signature.solution("points", block, naming)

    def _end(self, block: Block, naming: Naming, *, is_loop: bool) -> None:
        names = naming.renamed({"p": "point", "v": "level"})
        block.names |= {"point", "level"}
        is_numbered = "p" in self.summary.variables()
        source = "point, level in enumerate(levels)" if is_numbered else "level in levels"
        self.summary.write(block, names, source, is_loop=is_loop)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield 1, []
        yield 4, []
        yield 3, [(0, 3, rng.randint(1, 12))]
        yield 6, [(0, 2, 5), (2, 6, 5), (1, 3, rng.randint(1, 12))]
        while True:
            size = rng.randint(2, MOST_POINTS)
            yield size, [draw_load(rng, size) for _ in range(rng.randint(1, 6))]

    def problem(self, rng: Random) -> Problem:
        solutions = [self._differences(), self._direct(), self._points()]
        holes = [self.test and self.test.spec(), self.added and self.added.spec()]
        return Problem(
            family="intervals",
            spec=["coverage", holes, self.summary.spec()],
            name=self.signature.name,
            parameters=self.signature.parameters,
            returns=self.signature.returns,
            statement=self.statement,
            solutions=shuffled_solutions(rng, solutions),
            oracle=self.oracle,
            properties=(),
            inputs=self.inputs,
            summary=f"What {self.setting.nouns} add up to, {self.setting.point} by "
            f"{self.setting.point}.",
        )


def draw_coverage(rng: Random) -> Problem:
    setting = rng.choice(SETTINGS)
    test = None
    if rng.random() < 0.6:
        variables = rng.choice([[AMOUNT], [LENGTH], [AMOUNT, LENGTH]])
        test = draw_test(rng, variables, 1)
    added = None
    if rng.random() < 0.6:
        added = draw_integer(rng, rng.choice([[AMOUNT], [AMOUNT, LENGTH]]), 1)
        low, high = added.range()
        if low < -100 or high > 500:
            raise NothingDrawn
    unfinished = Coverage(setting, test, added, Summary("count", None, added or leaf(AMOUNT)),
                          Signature("", (), Int()))  # fmt: skip
    loads = [[draw_load(rng, 12) for _ in range(5)] for _ in range(10)]
    seen = [unfinished.levels(12, one) for one in loads]
    rows = [row for one in seen for row in one]
    level = observed_variable("v", rows, -2000, 5000)
    point = Variable("p", Int(0, MOST_POINTS - 1), "int", (0, MOST_POINTS - 1))
    summary = draw_summary(rng, [level] if rng.random() < 0.5 else [level, point], seen)
    size = f"num_{setting.points}"
    loads_type = ListOf(TupleOf((Int(), Int(), Int())))
    parameters = (Parameter(size, Int(1, MOST_POINTS)), Parameter(setting.nouns, loads_type))
    name = f"{summary.head()}_{rng.choice(['levels', 'loads', 'totals'])}_of_{setting.points}"
    signature = Signature(name, parameters, summary.returns)
    return Coverage(setting, test, added, summary, signature).problem(rng)
