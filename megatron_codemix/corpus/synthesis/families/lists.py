"""Lists: elements are kept, changed, put in order, compared; something is made of what is left."""

from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.families.pipeline.drawing import (
    Course,
    draw_ending,
    draw_stage,
    qualifier,
)
from megatron_codemix.corpus.synthesis.families.pipeline.flow import Items
from megatron_codemix.corpus.synthesis.families.pipeline.frame import Origin, Pipeline, trees_of
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn
from megatron_codemix.corpus.synthesis.grammar.node import Variable
from megatron_codemix.corpus.synthesis.problem import Parameter, Problem
from megatron_codemix.corpus.synthesis.values import Int, ListOf


@dataclass(frozen=True)
class Theme:
    """What the numbers are."""

    plural: str
    singular: str
    words: str
    low: int
    high: int


THEMES = (
    Theme("numbers", "number", "a list of integers", -50, 99),
    Theme("values", "entry", "a list of integers", -50, 99),
    Theme("scores", "score", "a list of game scores (integers, possibly negative)", -20, 120),
    Theme("readings", "reading", "a list of temperature readings (integers)", -30, 45),
    Theme("prices", "price", "a list of prices in whole euros, none negative", 0, 250),
    Theme("ages", "age", "a list of ages in years (non-negative integers)", 0, 99),
    Theme("balances", "balance", "a list of account balances (integers)", -200, 300),
    Theme("heights", "height", "a list of heights in centimetres (non-negative integers)", 0, 220),
    Theme("deltas", "delta", "a list of integer changes, upward or downward", -25, 25),
    Theme("counts", "count", "a list of non-negative counts", 0, 60),
    Theme("points", "point", "a list of points on the integer number line", -40, 40),
    Theme("codes", "code", "a list of non-negative integer codes", 0, 999),
    Theme("weights", "weight", "a list of weights in grams (positive integers)", 1, 500),
    Theme("levels", "level", "a list of water levels (integers relative to the mark)", -15, 30),
)
_THRESHOLDS = ("limit", "threshold", "border", "target", "bound")


class Lists:
    name = "lists"

    def draw(self, rng: Random) -> Problem:
        theme = rng.choice(THEMES)
        item_type = Int(theme.low, theme.high)
        variable = Variable("x0", item_type, "int", (theme.low, theme.high))
        items = Items(variable, theme.singular, theme.singular, theme.plural)
        others: list[Variable] = []
        if rng.random() < 0.3:
            others.append(Variable("k", item_type, "int", (theme.low, theme.high)))
        course = Course(rng, items, others)
        for _ in range(rng.choices([0, 1, 2, 3, 4], [0.4, 3, 4, 2.5, 0.7])[0]):
            course.add(draw_stage(course))
        ending = draw_ending(course)
        course.require_use(ending)
        if len(course.stages) == 0 and ending.spec()[0] in ("sum", "count", "max", "min"):
            raise NothingDrawn
        trees = [node for one in (*course.stages, ending) for node in trees_of(one)]
        others = [one for one in others if any(one.name in node.variables() for node in trees)]
        head = rng.choice(ending.names())
        return Pipeline(
            family=self.name,
            name=f"{head}_{qualifier(rng, course)}{theme.plural}",
            origin=Origin(
                parameter=Parameter(theme.plural, ListOf(item_type, 0, 10)), words=theme.words
            ),
            others=others,
            other_names=[rng.choice(_THRESHOLDS) for _ in others],
            other_words=["an integer" for _ in others],
            items=items,
            stages=course.stages,
            ending=ending,
        ).problem(f"{head.replace('_', ' ').capitalize()} of {theme.plural} after the steps above.")
