"""Draws stages and endings that fit what the list holds at each place."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from megatron_codemix.corpus.synthesis.families.naming import adjective
from megatron_codemix.corpus.synthesis.families.pipeline.counted import (
    Balance,
    Count,
    Extreme,
    Folded,
    Total,
)
from megatron_codemix.corpus.synthesis.families.pipeline.endings import Ending
from megatron_codemix.corpus.synthesis.families.pipeline.flow import Items
from megatron_codemix.corpus.synthesis.families.pipeline.neighbours import (
    ByIndex,
    KeepByPrevious,
    Pieces,
    Running,
    Steps,
)
from megatron_codemix.corpus.synthesis.families.pipeline.picked import Best, IndexOf, Listed
from megatron_codemix.corpus.synthesis.families.pipeline.stages import (
    Change,
    Keep,
    SortBy,
    Stage,
    While,
    Whole,
)
from megatron_codemix.corpus.synthesis.families.pipeline.tested import (
    AnyAll,
    LongestRun,
    Neighbours,
)
from megatron_codemix.corpus.synthesis.grammar.drawing import (
    NothingDrawn,
    draw_integer,
    draw_test,
    draw_text,
)
from megatron_codemix.corpus.synthesis.grammar.node import Kind, Variable
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Observed, Str, Type, Value

_SAMPLE_LISTS = 40
_LEAST_SEEN = 12
_MOST_SAMPLES = 80


class Course:
    """Sample lists on their way through the stages: what values are seen where decides which tests
    say anything there."""

    def __init__(self, rng: Random, items: Items, others: Sequence[Variable] = ()) -> None:
        self.rng = rng
        self.others = list(others)
        lists = ListOf(items.type, low=0, high=10)
        self.samples = [lists.draw(rng, 10) for _ in range(_SAMPLE_LISTS)]
        self.environments = [
            {one.name: one.type.draw(rng, 8) for one in others} for _ in range(_SAMPLE_LISTS)
        ]
        self.items = self._observed(items)
        self.samples_at_start, self.items_at_start = self.samples, self.items
        self.stages: list[Stage] = []
        self.num_changes = 0

    def add(self, stage: Stage) -> None:
        """Raises NothingDrawn where hardly anything is left, or nothing is changed."""
        passed = [
            stage.apply(list(values), environment)
            for values, environment in zip(self.samples, self.environments, strict=True)
        ]
        if passed == self.samples or sum(map(bool, passed)) < _LEAST_SEEN:
            raise NothingDrawn
        self.samples = passed
        self.items = self._observed(stage.items)
        self.stages.append(stage)

    def require_use(self, ending: Ending) -> None:
        """Raises NothingDrawn where a stage could be left out and nothing would change."""
        for left_out in range(len(self.stages)):
            stage = self.stages[left_out]
            if stage.items.variable.kind != self._kind_before(left_out):
                continue
            rest = [*self.stages[:left_out], *self.stages[left_out + 1 :]]
            if all(
                self._result(rest, ending, place) == self._result(self.stages, ending, place)
                for place in range(_SAMPLE_LISTS)
            ):
                raise NothingDrawn

    def _kind_before(self, number: int) -> Kind:
        items = self.stages[number - 1].items if number else self.items_at_start
        return items.variable.kind

    def _result(self, stages: Sequence[Stage], ending: Ending, place: int) -> Value:
        values = self.samples_at_start[place]
        environment = self.environments[place]
        for stage in stages:
            values = stage.apply(list(values), environment)
        return ending.apply(list(values), environment)

    def _observed(self, items: Items) -> Items:
        seen = [one for values in self.samples for one in values]
        if len(seen) < _LEAST_SEEN:
            raise NothingDrawn
        old = items.variable
        seen_type = old.type.type if isinstance(old.type, Observed) else old.type
        low, high = old.range
        if old.kind == "int":
            low, high = max(low, min(seen) - 50), min(high, max(seen) + 50)
        variable = Variable(old.name, Observed(seen_type, tuple(seen)), old.kind, (low, high))
        return Items(variable, items.name, items.singular, items.plural)

    def made(self, kind: Kind, low: int, high: int) -> Items:
        """Items of a list of computed values."""
        self.num_changes += 1
        name = ("value", "result", "outcome")[min(self.num_changes, 3) - 1]
        value_type: Type = Int(low, high) if kind == "int" else Str()
        variable = Variable(f"x{self.num_changes}", value_type, kind, (low, high))
        return Items(variable, name, name, f"{name}s")

    def neighbours(self) -> tuple[Variable, Variable]:
        """Variables for an element and the next one."""
        old = self.items.variable
        first = Variable("first", old.type, old.kind, old.range)
        return first, Variable("second", old.type, old.kind, old.range)

    def pairs(self) -> list[dict[str, Value]]:
        """Values of `neighbours` as they come together. Raises NothingDrawn if they are few."""
        found = [
            {"first": one, "second": other}
            for values in self.samples
            for one, other in pairwise(values)
        ]
        if len(found) < _LEAST_SEEN:
            raise NothingDrawn
        return found[:_MOST_SAMPLES]

    def indexed(self) -> list[dict[str, Value]]:
        """An index with the element that stands there."""
        name = self.items.variable.name
        found = [
            {"index": index, name: one}
            for values in self.samples
            for index, one in enumerate(values)
        ]
        return found[:_MOST_SAMPLES]


def draw_stage(course: Course) -> Stage:
    """One that fits; raises NothingDrawn. The course goes through it by `add`."""
    rng = course.rng
    is_number = course.items.variable.kind == "int"
    makers: list[tuple[Callable[[Course], Stage], float]] = [(_keep, 3.0), (_change, 3.0)]
    makers += [(_whole, 1.6), (_sort_by, 0.8), (_while, 1.0), (_by_index, 1.0)]
    if is_number:
        makers += [(_steps, 1.3), (_keep_by_previous, 1.2), (_running, 0.6), (_pieces, 0.9)]
    chosen = rng.choices([one for one, _ in makers], [weight for _, weight in makers])[0]
    return chosen(course)


def _size(rng: Random) -> int:
    return 1 if rng.random() < 0.6 else 2


def _item_test_variables(course: Course) -> list[Variable]:
    """The element, and with luck another parameter that it is compared with."""
    item = course.items.variable
    numbers = [one for one in course.others if one.kind == "int"]
    if numbers and item.kind == "int" and course.rng.random() < 0.7:
        return [item, course.rng.choice(numbers)]
    return [item]


def _keep(course: Course) -> Stage:
    variables = _item_test_variables(course)
    size = 1 if len(variables) > 1 else _size(course.rng)
    return Keep(draw_test(course.rng, variables, size), course.items)


def _change(course: Course) -> Stage:
    rng, items = course.rng, course.items
    if items.variable.kind == "str" and rng.random() < 0.5:
        node = draw_text(rng, [items.variable], _size(rng))
        low, high = node.range()
        return Change(node, items, course.made("str", low, high))
    variables = _item_test_variables(course)
    node = draw_integer(rng, variables, _size(rng))
    low, high = node.range()
    return Change(node, items, course.made("int", low, high))


def _whole(course: Course) -> Stage:
    kinds = ("reverse", "ascending", "descending", "first", "last", "skip", "every", "unique")
    last = course.stages[-1].spec()[0] if course.stages else ""
    kind = course.rng.choice([one for one in kinds if one != last])
    if last in ("ascending", "descending", "sort by", "reverse") and kind in (
        "ascending", "descending", "reverse",
    ):  # fmt: skip
        raise NothingDrawn
    count = course.rng.randint(2, 4) if kind in ("first", "last", "skip", "every") else 0
    return Whole(kind, course.items, count)  # type: ignore[arg-type]  # one of the kinds


def _sort_by(course: Course) -> Stage:
    key = draw_integer(course.rng, [course.items.variable], 1)
    if key.rule is not None and key.rule.aspect in ("shift", "scale"):
        raise NothingDrawn
    return SortBy(key, course.items, course.rng.random() < 0.4)


def _while(course: Course) -> Stage:
    test = draw_test(course.rng, _item_test_variables(course), 1)
    return While(test, course.items, course.rng.random() < 0.5)


def _by_index(course: Course) -> Stage:
    rng = course.rng
    index = Variable("index", Int(0, 9), "int", (0, 9))
    if course.items.variable.kind == "int" and rng.random() < 0.6:
        pair = [course.items.variable, index]
        node = draw_integer(rng, pair, _size(rng), course.indexed())
        low, high = node.range()
        return ByIndex(node, index, course.items, course.made("int", low, high))
    node = draw_test(rng, [index], 1)
    if "even" in node.rules():  # the slice by two says it better
        raise NothingDrawn
    return ByIndex(node, index, course.items, course.items)


def _steps(course: Course) -> Stage:
    pair = course.neighbours()
    node = draw_integer(course.rng, pair, _size(course.rng), course.pairs())
    low, high = node.range()
    return Steps(node, pair, course.items, course.made("int", low, high))


def _keep_by_previous(course: Course) -> Stage:
    pair = course.neighbours()
    test = draw_test(course.rng, pair, 1, course.pairs())
    return KeepByPrevious(test, pair, course.items, course.rng.random() < 0.5)


def _running(course: Course) -> Stage:
    kind = course.rng.choice(["total", "maximum", "minimum"])
    low, high = course.items.variable.range
    if kind == "total":
        low, high = min(0, 12 * low), max(0, 12 * high)
    made = course.made("int", low, high)
    return Running(kind, course.items, made)  # type: ignore[arg-type]  # one of the kinds


def _pieces(course: Course) -> Stage:
    rng = course.rng
    kind = rng.choice(["sum", "sum", "max", "min"])
    count = rng.randint(2, 3)
    low, high = course.items.variable.range
    if kind == "sum":
        low, high = min(low, count * low), max(high, count * high)
    made = course.made("int", low, high)
    return Pieces(kind, rng.random() < 0.5, count, course.items, made)  # type: ignore[arg-type]


def draw_ending(course: Course) -> Ending:
    """One that fits what is left; raises NothingDrawn."""
    rng, items = course.rng, course.items
    is_number = items.variable.kind == "int"
    makers: list[tuple[Callable[[Course], Ending], float]] = [
        (lambda course: Listed(course.items), 1.6 if course.stages else 0.0),
        (lambda course: Count(course.items), 0.8 if _can_count(course) else 0.0),
        (lambda course: Count(course.items, is_distinct=True), 0.4),
        (_best, 1.2),
        (_any_all, 1.0),
        (_index_of, 1.0),
        (_longest_run, 1.0),
        (_balance_of_counts, 0.6),
    ]
    if is_number:
        makers += [(lambda course: Total(course.items), 1.8), (_extreme, 1.2)]
        makers += [(_neighbours, 0.9), (_balance, 0.9), (_fold, 0.7)]
    chosen = rng.choices([one for one, _ in makers], [weight for _, weight in makers])[0]
    return chosen(course)


def _can_count(course: Course) -> bool:
    """Whether the number of elements says anything: not where no stage left any out."""
    names = {one.spec()[0] for one in course.stages}
    return bool(names & {"keep", "keep by previous", "take while", "drop while", "unique"})


def _default(course: Course) -> Value:
    if course.items.variable.kind in ("str", "char"):
        return course.rng.choice(["", "none", "?"])
    return course.rng.choice([0, -1, -1, 0, 100])


def _best(course: Course) -> Ending:
    key = draw_integer(course.rng, [course.items.variable], _size(course.rng))
    if key.rule is not None and key.rule.aspect in ("shift", "scale", "limit"):
        raise NothingDrawn
    kind = course.rng.choice(["max", "min"])
    return Best(kind, key, _default(course), course.items)  # type: ignore[arg-type]


def _any_all(course: Course) -> Ending:
    test = draw_test(course.rng, _item_test_variables(course), 1)
    return AnyAll(course.rng.choice(["any", "all"]), test, course.items)


def _index_of(course: Course) -> Ending:
    test = draw_test(course.rng, _item_test_variables(course), 1)
    return IndexOf(test, course.rng.random() < 0.4, course.items)


def _longest_run(course: Course) -> Ending:
    return LongestRun(draw_test(course.rng, _item_test_variables(course), 1), course.items)


def _extreme(course: Course) -> Ending:
    kind = course.rng.choice(["max", "min"])
    return Extreme(kind, _default(course), course.items)  # type: ignore[arg-type]


def _neighbours(course: Course) -> Ending:
    pair = course.neighbours()
    test = draw_test(course.rng, pair, _size(course.rng), course.pairs())
    return Neighbours(test, pair, course.items)


def _balance(course: Course) -> Ending:
    return Balance(draw_test(course.rng, [course.items.variable], 1), course.items, counts=False)


def _balance_of_counts(course: Course) -> Ending:
    return Balance(draw_test(course.rng, [course.items.variable], 1), course.items, counts=True)


def _fold(course: Course) -> Ending:
    rng = course.rng
    return Folded(
        rng.randint(0, 9),
        rng.choice([3, 7, 10, 13, 31]),
        rng.choice([97, 101, 256, 1000, 1009]),
        course.items,
    )


_QUALIFIERS = {
    "keep": ("matching_", "selected_", "wanted_"),
    "change": ("converted_", "changed_", "mapped_"),
    "steps": ("neighbouring_", "paired_"),
    "sort by": ("ranked_", "ordered_"),
    "windows": ("windowed_",),
    "blocks": ("grouped_",),
    "take while": ("leading_",),
    "drop while": ("late_",),
    "by index": ("placed_", "indexed_"),
    "unique": ("distinct_",),
    "reverse": ("reversed_",),
}


def qualifier(rng: Random, course: Course) -> str:
    """A word for a function's name that one of the stages suggests, with an underscore, or
    nothing."""
    if not course.stages:
        return ""
    stage = rng.choice(course.stages)
    if isinstance(stage, Keep) and len(stage.test.arguments) == 1:
        word = adjective(rng, stage.test)
        if word:
            return f"{word}_"
    return rng.choice(_QUALIFIERS.get(stage.spec()[0], ("",)))
