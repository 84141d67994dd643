"""Tables on a terminal in which nothing is cut off, however narrow it is."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import measure_renderables
from rich.table import Table

_PADDING = 2
"""Of a cell; a line of the frame stands beside each, and one more at the end."""


class WholeTable(Table):
    """Names stay on one line as long as there is room for the longest word of every column: then
    columns of many words are wrapped. rich takes the room from the widest columns, whatever is in
    them, and cuts off what has none. Where there is less, words go on in the next line."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needs = []
        for column in self.columns:
            column.overflow = "fold"
            needs.append(measure_renderables(console, options, [column.header, *column.cells]))
        room = options.max_width - (_PADDING + 1) * len(needs) - 1
        widths = shared_widths(
            [need.minimum for need in needs], [need.maximum for need in needs], room
        )
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)


def shared_widths(least: Sequence[int], most: Sequence[int], room: int) -> list[int | None]:
    """Widths of columns, of which none needs more than `most`: each at least `least`, and the rest
    to those that are narrowest. None for each where the sum of one of the two settles it."""
    if sum(most) <= room or sum(least) > room:
        return [None] * len(least)
    widths = list(least)
    for _ in range(room - sum(least)):
        narrow = [number for number, width in enumerate(widths) if width < most[number]]
        widths[min(narrow, key=lambda number: widths[number])] += 1
    return list(widths)
