"""What is returned about rows that an algorithm has found, such as the merged intervals.

A row is a few integers by the names of their variables. Rows have an order, which the family says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from megatron_codemix.corpus.synthesis.families.pieces import (
    add_lines,
    notes_of,
    tells_apart,
)
from megatron_codemix.corpus.synthesis.grammar.code import Code, Level, negated
from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
    draw_test,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subjects
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable, leaf
from megatron_codemix.corpus.synthesis.values import Bool, Int, ListOf, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block

_WEIGHTS = {
    "count": 1.0, "sum": 1.6, "list": 1.6, "largest": 0.9, "smallest": 0.9, "first": 0.7,
    "last": 0.7, "distinct": 0.6, "balance": 0.9, "longest run": 0.6, "spread": 0.6,
    "alternating": 0.6, "any": 0.25, "all": 0.25, "checksum": 0.5,
}  # fmt: skip
_ALWAYS_TESTED = ("count", "balance", "longest run", "any", "all", "first", "last")
UNORDERED = (
    "count", "sum", "largest", "smallest", "distinct", "balance", "spread", "any", "all",
)  # fmt: skip
"""Kinds for which the order of the rows does not matter."""
_TRIES = 12
_MOST_EQUAL = 0.6
_WITHOUT_VALUE = ("count", "longest run", "any", "all")


@dataclass(frozen=True)
class RowWords:
    noun: str
    nouns: str
    order: str
    """How the rows follow one another: "from left to right"."""
    which: str = ""
    """A relative clause behind the plural, true of all rows: "that remain"."""
    which_one: str = ""
    """The same behind the singular: "that remains"."""


@dataclass(frozen=True)
class Summary:
    kind: str
    test: Node | None
    value: Node
    default: int = 0
    """What takes the place of a value where there is no row."""
    fold: tuple[int, int, int] = (0, 0, 0)
    """Of a checksum: start, factor, modulus."""

    @property
    def returns(self) -> Type:
        if self.kind in ("any", "all"):
            return Bool()
        return ListOf(Int()) if self.kind == "list" else Int()

    def spec(self) -> Any:
        return [self.kind, self.test and self.test.spec(), self.value.spec(), self.default]

    def nodes(self) -> list[Node]:
        test = [] if self.test is None else [self.test]
        return test if self.kind in _WITHOUT_VALUE else [*test, self.value]

    def variables(self) -> set[str]:
        return set().union(*(one.variables() for one in self.nodes()))

    def notes(self) -> list[str]:
        return notes_of(self.nodes())

    def head(self) -> str:
        """A verb or adjective that names of functions begin with."""
        return {
            "sum": "sum_of", "list": "list", "longest run": "longest_run_of", "any": "has",
            "all": "all", "distinct": "different_values_of", "balance": "balance_of",
            "largest": "largest_value_of", "smallest": "smallest_value_of",
            "first": "first_value_of", "last": "last_value_of",
            "spread": "spread_of", "alternating": "alternating_sum_of", "checksum": "checksum_of",
        }.get(self.kind, self.kind)  # fmt: skip

    # The oracle's reading.

    def apply(self, rows: Sequence[Mapping[str, Value]]) -> Value:
        passes = [self.test is None or bool(self.test.evaluate(row)) for row in rows]
        values = [self.value.evaluate(row) for row in rows]
        kept = [value for value, is_kept in zip(values, passes, strict=True) if is_kept]
        match self.kind:
            case "count":
                return passes.count(True)
            case "sum":
                return sum(kept)
            case "list":
                return kept
            case "largest" | "smallest":
                return sorted(kept)[-1 if self.kind == "largest" else 0] if kept else self.default
            case "first" | "last":
                return kept[0 if self.kind == "first" else -1] if kept else self.default
            case "distinct":
                return len(set(kept))
            case "balance":
                return sum(kept) - (sum(values) - sum(kept))
            case "spread":
                return sorted(kept)[-1] - sorted(kept)[0] if kept else 0
            case "alternating":
                return sum(value * (-1) ** place for place, value in enumerate(kept))
            case "any":
                return True in passes
            case "all":
                return False not in passes
            case "longest run":
                sizes = range(len(rows) + 1)
                return max(n for n in sizes if _has_run(passes, n))
        code, factor, modulus = self.fold
        for value in kept:
            code = divmod(code * factor + value, modulus)[1]
        return code

    # In words.

    def say(self, rng: Random, words: RowWords, subjects: Subjects) -> str:
        """Behind "return"."""
        condition = self.test.condition(rng, subjects).clause() if self.test else ""
        value = self.value.phrase(rng, subjects)
        one, many = (f" {text}" if text else "" for text in (words.which_one, words.which))
        such, such_one = many, one
        if condition:
            such, such_one = (
                f"{own}{' and' if own.startswith(' that') else ''} for which {condition}"
                for own in (many, one)
            )
        noun, nouns, order = words.noun, words.nouns, words.order
        the_value = value if value.startswith("the ") else f"the value of {value}"
        match self.kind:
            case "count":
                choices = [f"the number of {nouns}{such}", f"how many {nouns} there are{such}"]
            case "sum":
                choices = [
                    f"the sum of {value} over all {nouns}{such} (0 if there are none)",
                    f"a total to which each {noun}{such_one} adds {value}; without any it is 0",
                ]
            case "list":
                choices = [
                    f"a list that holds {value} for each {noun}{such_one}, {order}",
                    f"a list with one entry for each {noun}{such_one}, {order}: {value}",
                ]
            case "largest" | "smallest":
                choices = [
                    f"the {self.kind} value that {value} takes over all {nouns}{such}, or "
                    f"{self.default} if there are none",
                    f"the {'maximum' if self.kind == 'largest' else 'minimum'} of {value} over "
                    f"the {nouns}{such}; {self.default} if there is no such {noun}",
                ]
            case "first" | "last":
                choices = [
                    f"{the_value} for the {self.kind} {noun}{such_one} (taking them {order}), or "
                    f"{self.default} if there is none",
                ]
            case "distinct":
                choices = [f"the number of different values that {value} takes over all "
                           f"{nouns}{such}"]  # fmt: skip
            case "balance":
                choices = [
                    f"a balance over all {nouns}{many}: each of them for which {condition} adds "
                    f"{value}, each other one subtracts the same expression (0 if there are none)",
                ]
            case "spread":
                choices = [
                    f"the difference between the largest and the smallest value that {value} takes "
                    f"over all {nouns}{such} (0 if there are none)",
                ]
            case "alternating":
                choices = [
                    f"the alternating sum of {value} over the {nouns}{such}, taken {order}: the "
                    "first one is added, the second subtracted, the third added, and so on "
                    "(0 if there are none)",
                ]
            case "any":
                choices = [
                    f"`True` if there is at least one {noun}{such_one}, and `False` otherwise",
                    f"whether any {noun} exists{such} (`True` or `False`)",
                ]
            case "all":
                choices = [
                    f"`True` if for every {noun}{one} it holds that {condition}, and `False` "
                    f"otherwise; if there are no {nouns} at all, the answer is `True`",
                ]
            case "longest run":
                choices = [
                    f"the length of the longest run of {nouns}{many}, taken {order}, that follow "
                    f"directly on one another and for each of which {condition} (0 if there is no "
                    f"such {noun})",
                ]
            case _:
                start, factor, modulus = self.fold
                choices = [
                    f"a checksum that starts at {start}; for each {noun}{such_one}, taken {order}, "
                    f"it is multiplied by {factor}, {value} is added, and only the remainder "
                    f"modulo {modulus} (never negative) is kept",
                ]
        return rng.choice(choices)

    # As Python.

    def write(self, block: Block, naming: Naming, source: str, *, is_loop: bool) -> None:
        """All of it over `source`, which names what it iterates over: "length in lengths"."""
        if is_loop or self.kind == "checksum":
            names = self.begin(block)
            with block.inside(f"for {source}:"):
                self.collect(block, naming, names)
            self.end(block, names)
        else:
            self._comprehension(block, naming, source)

    def _value_code(self, naming: Naming) -> Code:
        if self.kind in _WITHOUT_VALUE:
            return Code("1", Level.ATOM)
        return self.value.python(naming)

    def _comprehension(self, block: Block, naming: Naming, source: str) -> None:
        value = self._value_code(naming)
        test = self.test.python(naming) if self.test else None
        opposite = negated(test) if test else None
        rows = f"for {source}" + (f" if {test:or}" if test else "")
        every = f"[{value:or} {rows}]"
        if not test and source == f"{value} in {source.rpartition(' ')[2]}":
            every = source.rpartition(" ")[2]
        inner = every if every[0] != "[" else every[1:-1]
        match self.kind:
            case "count":
                block.add(f"return sum(1 {rows})")
            case "sum":
                block.add(f"return sum({inner})")
            case "list":
                block.add(f"return {every}")
            case "largest" | "smallest":
                function = "max" if self.kind == "largest" else "min"
                inner = f"({inner})" if every[0] == "[" else inner
                block.add(f"return {function}({inner}, default={self.default})")
            case "first" | "last":
                found = block.name("found", "matches")
                block.add(f"{found} = {every}")
                place = 0 if self.kind == "first" else -1
                block.add(f"return {found}[{place}] if {found} else {self.default}")
            case "distinct":
                block.add(f"return len(set({inner}))")
            case "balance":
                plus, minus = block.name("plus", "added"), block.name("minus", "taken")
                block.add(f"{plus} = sum({value:or} for {source} if {test:or})")
                block.add(f"{minus} = sum({value:or} for {source} if {opposite:or})")
                block.add(f"return {plus} - {minus}")
            case "spread":
                found = block.name("found", "matches")
                block.add(f"{found} = {every}")
                block.add(f"return max({found}) - min({found}) if {found} else 0")
            case "alternating":
                found = block.name("found", "matches")
                block.add(f"{found} = {every}")
                block.add(f"return sum({found}[::2]) - sum({found}[1::2])")
            case "any" | "all":
                block.add(f"return {self.kind}({test} for {source})")
            case _:
                runs = block.name("runs")
                block.add(f"{runs} = [0]")
                with block.inside(f"for {source}:"):
                    block.add(f"run = {runs}[-1] + 1 if {test:or} else 0")
                    block.add(f"{runs}.append(run)")
                block.add(f"return max({runs})")

    def begin(self, block: Block) -> list[str]:
        """What stands before a loop over rows; gives the names that the rest needs."""
        wanted = {
            "count": ["count"], "sum": ["total", "result", "answer"],
            "balance": ["total", "result", "answer"],
            "list": ["found", "answer"], "last": ["last", "latest"], "distinct": ["seen", "met"],
            "largest": ["best", "top"], "smallest": ["best", "least"],
            "spread": ["found", "answer"], "alternating": ["total", "result", "answer"],
            "longest run": ["longest"], "checksum": ["code", "checksum"],
        }.get(self.kind)  # fmt: skip
        if wanted is None:
            return []
        starts = {"list": "[]", "spread": "[]", "distinct": "set()", "largest": "None",
                  "smallest": "None", "last": str(self.default),
                  "checksum": str(self.fold[0])}  # fmt: skip
        names = [block.name(*wanted)]
        block.add(f"{names[0]} = {starts.get(self.kind, '0')}")
        if self.kind in ("longest run", "alternating"):
            names.append(block.name(*(["run"] if self.kind == "longest run" else ["sign"])))
            block.add(f"{names[1]} = {0 if self.kind == 'longest run' else 1}")
        return names

    def collect(self, block: Block, naming: Naming, names: Sequence[str]) -> None:
        """What is done with one row."""
        value = self._value_code(naming)
        test = self.test.python(naming) if self.test else None
        if self.kind == "all" and test is not None:
            add_lines(block, f"if {negated(test)}:\n    return False")
        elif self.kind in ("balance", "longest run"):
            yes, no = self._yes_and_no(names, value)
            add_lines(block, f"if {test}:\n{yes}\nelse:\n{no}")
        elif test is not None:
            with block.inside(f"if {test}:"):
                self._take(block, names, value)
        else:
            self._take(block, names, value)

    def _yes_and_no(self, names: Sequence[str], value: Code) -> tuple[str, str]:
        if self.kind == "balance":
            return f"    {names[0]} += {value}", f"    {names[0]} -= {value}"
        longest, run = names
        return f"    {run} += 1\n    {longest} = max({longest}, {run})", f"    {run} = 0"

    def _take(self, block: Block, names: Sequence[str], value: Code) -> None:
        name = names[0] if names else ""
        match self.kind:
            case "count":
                block.add(f"{name} += 1")
            case "sum":
                block.add(f"{name} += {value}")
            case "list" | "spread":
                block.add(f"{name}.append({value})")
            case "last":
                block.add(f"{name} = {value}")
            case "distinct":
                block.add(f"{name}.add({value})")
            case "largest" | "smallest":
                sign = ">" if self.kind == "largest" else "<"
                text = str(value)
                if not value.text.isidentifier():
                    text = block.name("candidate")
                    block.names.discard(text)
                    block.add(f"{text} = {value}")
                add_lines(
                    block,
                    f"if {name} is None or {text} {sign} {name}:\n    {name} = {text}",
                )
            case "alternating":
                block.add(f"{name} += {names[1]} * {value:unary}")
                block.add(f"{names[1]} = -{names[1]}")
            case "any":
                block.add("return True")
            case "first":
                block.add(f"return {value}")
            case _:
                _, factor, modulus = self.fold
                block.add(f"{name} = ({name} * {factor} + {value:product}) % {modulus}")

    def end(self, block: Block, names: Sequence[str]) -> None:
        """The return behind the loop."""
        name = names[0] if names else ""
        match self.kind:
            case "distinct":
                block.add(f"return len({name})")
            case "largest" | "smallest":
                block.add(f"return {self.default} if {name} is None else {name}")
            case "spread":
                block.add(f"return max({name}) - min({name}) if {name} else 0")
            case "any" | "all":
                block.add(f"return {self.kind == 'all'}")
            case "first":
                block.add(f"return {self.default}")
            case _:
                block.add(f"return {name}")


def _has_run(passes: Sequence[bool], size: int) -> bool:
    starts = range(len(passes) - size + 1)
    return any(all(passes[start : start + size]) for start in starts)


def draw_summary(
    rng: Random,
    variables: Sequence[Variable],
    samples: Sequence[Sequence[Mapping[str, int]]],
    without: Sequence[str] = (),
) -> Summary:
    """Over rows of one or two variables. `samples`: rows of some random inputs, on which it must
    say something; `without`: kinds that make no sense. Raises NothingDrawn."""
    for _ in range(_TRIES):
        summary = _some_summary(rng, variables, without)
        if _is_telling(summary, samples):
            return summary
    raise NothingDrawn


def _is_telling(summary: Summary, samples: Sequence[Sequence[Mapping[str, int]]]) -> bool:
    """Whether results vary, and every part says something on the rows."""
    rows = [row for one in samples for row in one]
    if not all(tells_apart(node, rows) for node in summary.nodes()):
        return False
    results = [str(summary.apply(rows)) for rows in samples]
    return max(results.count(one) for one in set(results)) <= _MOST_EQUAL * len(results)


def _some_summary(rng: Random, variables: Sequence[Variable], without: Sequence[str]) -> Summary:
    weights = {kind: one for kind, one in _WEIGHTS.items() if kind not in without}
    kind = rng.choices(list(weights), list(weights.values()))[0]
    test_on, value_on = _shared_out(rng, variables)
    test = None
    if kind in _ALWAYS_TESTED or rng.random() < 0.55:
        size = 2 if len(test_on) == 1 and rng.random() < 0.45 else 1
        test = draw_test(rng, test_on, size)
    value = leaf(variables[0])
    if kind not in _WITHOUT_VALUE:
        value = draw_integer(rng, value_on, _value_size(rng, kind, len(value_on), test is not None))
    default = rng.choice([0, -1, -1]) if kind in ("largest", "smallest", "first", "last") else 0
    summary = Summary(kind, test, value, default)
    if kind == "checksum":
        fold = rng.randint(0, 9), rng.choice([3, 7, 10, 31]), rng.choice([97, 101, 997, 1009])
        summary = replace(summary, fold=fold)
    return summary


def _shared_out(
    rng: Random, variables: Sequence[Variable]
) -> tuple[Sequence[Variable], Sequence[Variable]]:
    """Variables of the test and of the value."""
    if len(variables) == 1:
        return variables, variables
    one, other = rng.sample(list(variables), 2)
    return rng.choice([([one, other], [one]), ([one], [one, other]), ([one], [other]),
                       ([one, other], [one, other])])  # fmt: skip


def _value_size(rng: Random, kind: str, num_variables: int, is_tested: bool) -> int:
    if num_variables == 1 and kind in ("list", "first", "last", "balance") and is_tested:
        return rng.choice([0, 1, 1, 2])
    return rng.choice([1, 1, 2]) if is_tested else rng.choice([1, 2, 2])
