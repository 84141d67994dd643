"""Summaries of windows (start, end) that an algorithm has found: by both borders, or by length."""

from collections.abc import Sequence
from random import Random

from megatron_codemix.corpus.synthesis.families.intervals.spans import Span
from megatron_codemix.corpus.synthesis.families.pieces import observed_variable
from megatron_codemix.corpus.synthesis.families.summary import Summary, draw_summary
from megatron_codemix.corpus.synthesis.grammar.node import Naming
from megatron_codemix.corpus.synthesis.problem import Property
from megatron_codemix.corpus.synthesis.writing.source import Block

Row = dict[str, int]


def rows_of(windows: Sequence[Span]) -> list[Row]:
    return [{"s": start, "e": end, "l": end - start} for start, end in windows]


def draw_window_summary(rng: Random, seen: Sequence[Sequence[Row]], latest: int) -> Summary:
    rows = [row for one in seen for row in one]
    if rng.random() < 0.45:
        return draw_summary(rng, [observed_variable("l", rows, 1, latest)], seen)
    start = observed_variable("s", rows, 0, latest)
    end = observed_variable("e", rows, 0, latest)
    variables = [start, end] if rng.random() < 0.8 else [rng.choice([start, end])]
    return draw_summary(rng, variables, seen)


def at_most_as_many(summary: Summary, text: str) -> tuple[Property, ...]:
    """What holds where a summary counts some of the given intervals."""
    if summary.kind not in ("count", "distinct", "longest run"):
        return ()
    return (Property(text, lambda a, r: 0 <= r <= len(a[0])),)


def write_summary(
    block: Block, naming: Naming, summary: Summary, windows: str, *, is_loop: bool
) -> None:
    """The return over a list of tuples; lengths are computed first where it is them."""
    used = summary.variables()
    if "l" in used:
        block.add(f"lengths = [end - start for start, end in {windows}]")
        block.names |= {"length", "lengths"}
        names, source = {"l": "length"}, "length in lengths"
    else:
        block.names |= {"start", "end"}
        start = "start" if "s" in used or not used else "_"
        end = "end" if "e" in used else "_"
        names, source = {"s": "start", "e": "end"}, f"{start}, {end} in {windows}"
    summary.write(block, naming.renamed(names), source, is_loop=is_loop)


def in_units(border: str, gap: int, *, turned: bool = False) -> str:
    """What stands behind a start that is close enough to the border: "<= last + 2"; turned: behind
    one that is not."""
    if gap < 0:
        return f"{'>=' if turned else '<'} {border}"
    far = border if gap == 0 else f"{border} + {gap}"
    return f"{'>' if turned else '<='} {far}"
