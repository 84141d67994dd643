"""A sequence whose numbers follow from the two before them, by a rule with two cases."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from megatron_codemix.corpus.synthesis.families.recursion.common import (
    MODULI,
    notes_of,
    problem,
    reduced,
    solution,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
    draw_test,
)
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter, Problem, Solution
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Type, Value
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given, Task, phrased

Kind = Literal["term", "list", "count", "sum", "first"]
_HIGH = 14
_SEARCH = 40


@dataclass(frozen=True)
class Sequence:
    """a(0), a(1) are given; a(n) is `yes` if `test`, else `no`, of n, p = a(n-1), q = a(n-2)."""

    name: str
    kind: Kind
    starts: tuple[int, int]
    test: Node
    yes: Node
    no: Node
    modulus: int
    goal: Node
    """Of a term `t`: which count, or which is looked for."""

    def _terms(self, count: int) -> list[int]:
        """a(0) to a(count - 1), from below."""
        terms = list(self.starts)
        while len(terms) < count:
            row = {"n": len(terms), "p": terms[-1], "q": terms[-2]}
            rule = self.yes if self.test.evaluate(row) else self.no
            terms.append(rule.evaluate(row) % self.modulus)
        return terms[:count]

    def oracle(self, n: int = _SEARCH) -> Value:
        terms = self._terms(n + 1)
        holds = [bool(self.goal.evaluate({"t": one})) for one in terms]
        if self.kind == "term":
            return terms[-1]
        if self.kind == "list":
            return terms
        if self.kind == "sum":
            return sum(terms)
        if self.kind == "count":
            return holds.count(True)
        return next((place for place in range(n, len(terms)) if holds[place]), -1)

    def first_oracle(self, n: int) -> Value:
        """The first place from n on at which the goal holds, looked for up to n + _SEARCH."""
        terms = self._terms(n + _SEARCH + 1)
        places = [i for i, one in enumerate(terms) if i >= n and self.goal.evaluate({"t": one})]
        return min(places, default=-1)

    def statement(self, rng: Random) -> str:
        subjects = {
            "n": Subject("`n`"),
            "p": Subject("`a(n-1)`"),
            "q": Subject("`a(n-2)`"),
            "t": Subject("the term", True),
        }
        test = self.test.condition(rng, subjects).clause()
        yes, no = self.yes.phrase(rng, subjects), self.no.phrase(rng, subjects)
        first, second = self.starts
        model = [
            rng.choice(
                [
                    f"a sequence begins with `a(0) = {first}` and `a(1) = {second}`",
                    f"the first two terms of a sequence are `a(0) = {first}` and `a(1) = {second}`",
                ]
            ),
            rng.choice(
                [
                    f"for larger `n`, the term `a(n)` is {yes} if {test}, and {no} otherwise",
                    f"each further term `a(n)` is formed like this: if {test}, it is {yes}; "
                    f"otherwise it is {no}",
                ]
            ),
            f"all terms from `a(2)` on are reduced modulo {self.modulus}, so that they lie "
            f"between 0 "
            f"and {self.modulus - 1}",
        ]
        goal = self.goal.condition(rng, subjects)
        result = {
            "term": "the term `a(n)`",
            "list": "the list of the terms `a(0)` to `a(n)`, both included",
            "sum": "the sum of the terms `a(0)` to `a(n)`, both included",
            "count": "the number of terms among `a(0)` to `a(n)`, both included, "
            f"{goal.relative(is_plural=True)}",
            "first": f"the smallest index `i`, not less than `n`, for which `a(i)` is a term "
            f"{goal.relative(is_plural=False)}; if there is none up to `n + {_SEARCH}` (included), "
            "the result is -1",
        }[self.kind]
        notes = notes_of(self.test, self.yes, self.no)
        given = [Given("n", "an integer that is not negative")]
        task = Task(name=self.name, given=given, model=model, result=result, notes=notes)
        return phrased(rng, task)

    def _signature(self) -> str:
        return f"def {self.name}(n: int) -> {self._returns().python()}:"

    def _returns(self) -> Type:
        return ListOf(Int()) if self.kind == "list" else Int()

    def _ending(self, block: Block, naming: Naming, terms: str, up_to_n: str) -> None:
        """`terms`: a list that reaches as far as is needed; `up_to_n`: that up to a(n)."""
        goal = self.goal.python(naming.renamed({"t": "term"}))
        if self.kind == "first":
            with (
                block.inside(f"for index in range(n, n + {_SEARCH + 1}):"),
                block.inside(f"if {self.goal.python(naming.renamed({'t': f'{terms}[index]'}))}:"),
            ):
                block.add("return index")
            block.add("return -1")
            return
        block.add(
            {
                "term": f"return {terms}[n]",
                "list": f"return {up_to_n}",
                "sum": f"return sum({up_to_n})",
                "count": f"return sum(1 for term in {up_to_n} if {goal:or})",
            }[self.kind]
        )

    def _upwards(self) -> Solution:
        """A list that grows."""
        naming = Naming({"n": "index", "p": "terms[-1]", "q": "terms[-2]"}, 0)
        block = Block({"n", "terms", "index", self.name})
        last = f"n + {_SEARCH + 1}" if self.kind == "first" else "n + 1"
        block.add(f"terms = [{self.starts[0]}, {self.starts[1]}]")
        with block.inside(
            f"for index in range(2, {last}):" if self._uses_n() else (f"for _ in range(2, {last}):")
        ):
            with block.inside(f"if {self.test.python(naming)}:"):
                block.add(f"terms.append({reduced(self.yes, naming, self.modulus)})")
            with block.inside("else:"):
                block.add(f"terms.append({reduced(self.no, naming, self.modulus)})")
        self._ending(block, naming, "terms", "terms[: n + 1]")
        return solution("list", self._signature(), block, naming)

    def _uses_n(self) -> bool:
        return any("n" in one.variables() for one in (self.test, self.yes, self.no))

    def _recursive(self) -> Solution:
        """A function that remembers what it has worked out."""
        naming = Naming({"n": "index", "p": "previous", "q": "before_it"}, 1, uses_helpers=True)
        block = Block({"n", "known", "index", "term", "term_at", self.name})
        block.add(f"known = {{0: {self.starts[0]}, 1: {self.starts[1]}}}")
        block.add("")
        with block.inside("def term_at(index: int) -> int:"):
            with block.inside("if index not in known:"):
                used = self.test.variables() | self.yes.variables() | self.no.variables()
                if "p" in used:
                    block.add("previous = term_at(index - 1)")
                if "q" in used:
                    block.add("before_it = term_at(index - 2)")
                with block.inside(f"if {self.test.python(naming)}:"):
                    block.add(f"known[index] = {reduced(self.yes, naming, self.modulus)}")
                with block.inside("else:"):
                    block.add(f"known[index] = {reduced(self.no, naming, self.modulus)}")
            block.add("return known[index]")
        block.add("")
        if self.kind == "term":
            block.add("return term_at(n)")
        else:
            last = f"n + {_SEARCH + 1}" if self.kind == "first" else "n + 1"
            block.add(f"terms = [term_at(index) for index in range({last})]")
            self._ending(block, naming, "terms", "terms")
        return solution("recursive", self._signature(), block, naming)

    def _pair(self) -> Solution:
        """Only the last two terms are kept; for single terms."""
        naming = Naming({"n": "index", "p": "current", "q": "previous"}, 1)
        block = Block({"n", "index", "current", "previous", self.name})
        block.add(f"previous, current = {self.starts[0]}, {self.starts[1]}")
        with block.inside("if n == 0:"):
            block.add("return previous")
        with block.inside(
            "for index in range(2, n + 1):" if self._uses_n() else ("for _ in range(2, n + 1):")
        ):
            with block.inside(f"if {self.test.python(naming)}:"):
                block.add(f"following = {reduced(self.yes, naming, self.modulus)}")
            with block.inside("else:"):
                block.add(f"following = {reduced(self.no, naming, self.modulus)}")
            block.add("previous, current = current, following")
        block.add("return current")
        return solution("two variables", self._signature(), block, naming)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield from ((n,) for n in (0, 1, 2, 3))
        yield from ((n,) for n in range(4, 60))

    def problem(self) -> Problem:
        parts = [self.test, self.yes, self.no]
        if self.kind in ("count", "first"):
            parts.append(self.goal)
        solutions = [self._upwards(), self._recursive()]
        if self.kind == "term":
            solutions.append(self._pair())
        return problem(
            spec=["sequence", self.kind, *(one.spec() for one in parts)],
            name=self.name,
            parameters=(Parameter("n", Int(0, _HIGH)),),
            returns=self._returns(),
            statement=self.statement,
            solutions=tuple(solutions),
            oracle=self.first_oracle if self.kind == "first" else self.oracle,
            inputs=self.inputs,
            summary="Terms of a sequence that is defined by the two terms before.",
        )


def draw_sequence(rng: Random) -> Problem:
    modulus = rng.choice(MODULI)
    term = (0, modulus - 1)
    variables = {
        "n": Variable("n", Int(2, 20), "int", (2, 60)),
        "p": Variable("p", Int(*term), "int", term),
        "q": Variable("q", Int(*term), "int", term),
    }
    test = draw_test(rng, _chosen(rng, variables, 0.35), 1)
    yes = draw_integer(rng, _chosen(rng, variables, 0.85), rng.choice([1, 2]))
    no = draw_integer(rng, _chosen(rng, variables, 0.6), rng.choice([1, 1, 2]))
    used = test.variables() | yes.variables() | no.variables()
    if not {"p", "q"} <= used or "conditional" in yes.rules() | no.rules():
        raise NothingDrawn
    goal = draw_test(rng, [Variable("t", Int(*term), "int", term)], 1)
    kind: Kind = rng.choices(("term", "list", "count", "sum", "first"), (2, 1.5, 1, 1, 0.8))[0]
    verb = {
        "term": "term", "list": "terms", "count": "count_terms", "sum": "sum_of_terms",
        "first": "next_index",
    }[kind]  # fmt: skip
    name = f"{rng.choice(['sequence', 'series', 'recurrence', 'progression'])}_{verb}"
    starts = (rng.randint(0, 9), rng.randint(1, 9))
    return Sequence(name, kind, starts, test, yes, no, modulus, goal).problem()


def _chosen(rng: Random, variables: dict[str, Variable], share_of_two: float) -> list[Variable]:
    names = rng.sample(["p", "q", "n"], 2 if rng.random() < share_of_two else 1)
    return [variables[name] for name in names]
