"""Nothing in a table is cut off, and names stay whole as long as there is room for them."""

import io
from pathlib import Path

import pytest
from rich.console import Console

import megatron_codemix
from megatron_codemix.obs.tables import WholeTable

HEAD = ("phase", "state", "step", "tokens/s", "attempts", "run directory")
ROWS = (
    ("seed1/balanced-then-text", "no data", "0 / 31471", "-", "0", "balanced-then-text-0123abcd"),
    ("seed1/cooldown", "running", "10 / 31471", "1,234,567", "12", "cooldown-fedc9876"),
)
LEAST = sum(map(len, (ROWS[0][0], "running", "31471", "1,234,567", "attempts", ROWS[0][5])))
FRAME = 3 * len(HEAD) + 1


def printed(width: int) -> list[list[str]]:
    """What stands in each column of each line within the frame."""
    table = WholeTable(show_lines=True)
    for name in HEAD:
        table.add_column(name)
    for row in ROWS:
        table.add_row(*row)
    screen = io.StringIO()
    console = Console(file=screen, width=width)
    console.print(WholeTable())
    console.print(table)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    cells = [line.replace("┃", "│").split("│")[1:-1] for line in lines if line[:1] in ("│", "┃")]
    assert all(len(line) == len(HEAD) for line in cells)
    return cells


@pytest.mark.parametrize("width", range(40, 140, 3))
def test_every_letter_is_there_at_every_width(width: int) -> None:
    cells = printed(width)
    for number, words in enumerate(zip(HEAD, *ROWS, strict=True)):
        shown = "".join("".join(line[number].split()) for line in cells)
        assert shown == "".join("".join(text.split()) for text in words)


@pytest.mark.parametrize("width", [LEAST + FRAME, LEAST + FRAME + 1, LEAST + FRAME + 9, 200])
def test_no_word_is_parted_where_the_longest_ones_fit(width: int) -> None:
    """Cells of several words give way."""
    shown = {word for line in printed(width) for cell in line for word in cell.split()}
    assert shown == {word for row in (HEAD, *ROWS) for text in row for word in text.split()}


def test_where_they_do_not_fit_the_widest_columns_give_way() -> None:
    cells = printed(LEAST + FRAME - 1)
    whole = {line[3].strip() for line in cells} | {line[4].strip() for line in cells}
    assert {"tokens/s", "attempts", "1,234,567"} <= whole


def test_all_tables_are_such() -> None:
    package = Path(megatron_codemix.__file__).parent
    users = [path for path in package.rglob("*.py") if "rich.table" in path.read_text()]
    assert users == [package / "obs" / "tables.py"]
