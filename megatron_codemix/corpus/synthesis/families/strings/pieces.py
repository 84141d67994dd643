"""The words of a text, a list of words, or the characters of a text, through stages to an
ending."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.families.pipeline.drawing import (
    Course,
    draw_ending,
    draw_stage,
    qualifier,
)
from megatron_codemix.corpus.synthesis.families.pipeline.endings import Ending
from megatron_codemix.corpus.synthesis.families.pipeline.flow import Items
from megatron_codemix.corpus.synthesis.families.pipeline.frame import Origin, Pipeline, trees_of
from megatron_codemix.corpus.synthesis.families.pipeline.picked import Joined
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn
from megatron_codemix.corpus.synthesis.grammar.node import Kind, Variable
from megatron_codemix.corpus.synthesis.problem import Parameter, Problem
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Str, Type

MIXED = "aabbceeghiklmnoorsttuABDEMRST 12579.-"
"""Characters of random texts: letters in both cases, digits, spaces, marks."""


@dataclass(frozen=True)
class Theme:
    origin: Callable[[], Origin]
    kind: Kind
    item_type: Type
    longest: int
    singular: str
    plural: str


def _split_text(name: str, words: str) -> Origin:
    return Origin(
        parameter=Parameter(name, Str(0, 8, words=8)),
        words=words,
        source="words",
        prelude=(f"words = {name}.split()",),
        model=(f"the words of `{name}` are separated by single spaces",),
        listed=lambda text: [word for word in text.split(" ") if word],
        edges=("", "a", "level", "Rain on rain", "to be or not to be"),
    )


def _text(name: str, words: str) -> Origin:
    return Origin(
        parameter=Parameter(name, Str(0, 14, MIXED)),
        words=words,
        source="characters",
        prelude=(f"characters = list({name})",),
        model=(f"look at the characters of `{name}` one by one, in order",),
        listed=lambda text: [text[place] for place in range(len(text))],
        edges=("", "a", "aaa", "Ab 12", "tEst-5"),
    )


def _list_of(name: str, words: str, edges: tuple[list[str], ...]) -> Origin:
    return Origin(parameter=Parameter(name, ListOf(Str(), 0, 8)), words=words, edges=edges)


_WORD_EDGES: tuple[list[str], ...] = ([], [""], ["level"], ["On", "on", "on"], ["egg", "Tea"])

THEMES = (
    Theme(lambda: _split_text("sentence", "a sentence"), "str", Str(1), 8, "word", "words"),
    Theme(lambda: _split_text("line", "a line of text"), "str", Str(1), 8, "word", "words"),
    Theme(lambda: _split_text("title", "the title of a book"), "str", Str(1), 8, "word", "words"),
    Theme(
        lambda: _list_of("words", "a list of words (some may be empty)", _WORD_EDGES),
        "str", Str(), 8, "word", "words",
    ),
    Theme(
        lambda: _list_of("names", "a list of names (texts, possibly empty)", _WORD_EDGES),
        "str", Str(), 8, "name", "names",
    ),
    Theme(
        lambda: _list_of("labels", "a list of labels (texts, possibly empty)", _WORD_EDGES),
        "str", Str(), 8, "label", "labels",
    ),
    Theme(lambda: _text("text", "a text"), "char", Str(1, 1, MIXED), 1, "character", "characters"),
    Theme(
        lambda: _text("message", "a message (any text)"),
        "char", Str(1, 1, MIXED), 1, "character", "characters",
    ),
    Theme(
        lambda: _text("password", "a password (any text)"),
        "char", Str(1, 1, MIXED), 1, "character", "characters",
    ),
)  # fmt: skip


def draw_pieces(rng: Random) -> Problem:
    theme = rng.choice(THEMES)
    origin = theme.origin()
    low = 1 if theme.kind == "char" or origin.prelude else 0
    variable = Variable("x0", theme.item_type, theme.kind, (low, theme.longest))
    name = "letter" if theme.kind == "char" else theme.singular
    items = Items(variable, name, theme.singular, theme.plural)
    others = [Variable("k", Int(0, 8), "int", (0, 8))] if rng.random() < 0.15 else []
    course = Course(rng, items, others)
    for _ in range(rng.choices([0, 1, 2, 3], [0.3, 2.5, 4, 3])[0]):
        course.add(draw_stage(course))
    ending: Ending
    is_text = course.items.variable.kind in ("str", "char")
    if is_text and course.stages and rng.random() < 0.4:
        between = rng.choice(["", "", "-", " "] if theme.kind == "char" else [" ", " ", "-", ", "])
        ending = Joined(between, course.items)
    else:
        ending = draw_ending(course)
    if not course.stages and ending.spec()[0] in ("count", "count distinct"):
        raise NothingDrawn
    course.require_use(ending)
    trees = [node for one in (*course.stages, ending) for node in trees_of(one)]
    others = [one for one in others if any(one.name in node.variables() for node in trees)]
    head = rng.choice(ending.names())
    return Pipeline(
        family="strings",
        name=f"{head}_{qualifier(rng, course)}{theme.plural}",
        origin=origin,
        others=others,
        other_names=[rng.choice(["limit", "size", "number"]) for _ in others],
        other_words=["a non-negative integer" for _ in others],
        items=items,
        stages=course.stages,
        ending=ending,
    ).problem(f"{head.replace('_', ' ').capitalize()} the {theme.plural} that are wanted.")
