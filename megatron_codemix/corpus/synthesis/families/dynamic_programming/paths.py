"""Paths through a grid of numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from megatron_codemix.corpus.synthesis.families.dynamic_programming.plan import (
    Aim,
    Plan,
    aim_words,
    best_of,
    settled,
    type_of,
)
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, draw_joined, specs_of
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_integer, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Naming, Node, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Type
from megatron_codemix.corpus.synthesis.writing.source import Block
from megatron_codemix.corpus.synthesis.writing.statement import Given

Moves = Literal["corner", "diagonal", "falling"]
CELL = Variable("v", Int(-5, 30), "int", (-5, 30))
ROW = Variable("r", Int(0, 3), "int", (0, 3))
COLUMN = Variable("c", Int(0, 3), "int", (0, 3))
_STEPS = {"corner": [(0, 1), (1, 0)], "diagonal": [(0, 1), (1, 0), (1, 1)],
          "falling": [(1, -1), (1, 0), (1, 1)]}  # fmt: skip


@dataclass(frozen=True)
class Path:
    moves: Moves
    aim: Aim
    blocked: Node | None
    """Of the number `v` of a cell, or of it and the row or column: it cannot be entered."""
    cost: Node | None
    """What a cell adds; None where ways are counted."""

    def name(self) -> str:
        return {"least": "cheapest_path", "most": "best_path", "count": "count_paths"}[self.aim]

    def title(self) -> str:
        return "Paths through a grid of numbers."

    def spec(self) -> Any:
        return ["path", self.moves, self.aim, *specs_of(self.nodes())]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("grid", ListOf(ListOf(Int(-5, 30)))),)

    def returns(self) -> Type:
        return type_of(self.aim)

    def given(self) -> list[Given]:
        return [Given("grid", "a list of rows, each a list of integers; all rows are equally long")]

    def _subjects(self) -> dict[str, Subject]:
        return {
            "v": Subject("its number"),
            "r": Subject("the index of its row"),
            "c": Subject("the index of its column"),
        }

    def model(self, rng: Random) -> list[str]:
        how = {
            "corner": "a path leads from the top left cell to the bottom right cell; each step "
            "goes one cell to the right or one cell down",
            "diagonal": "a path leads from the top left cell to the bottom right cell; each step "
            "goes one cell to the right, one down, or one diagonally (right and down at once)",
            "falling": "a path starts in any cell of the first row and ends in the last row; each "
            "step goes to the next row, to the cell directly below or to one of those left and "
            "right of that",
        }[self.moves]
        said = ["there is at least one row and one column", how]
        if self.blocked is not None:
            clause = self.blocked.condition(rng, self._subjects()).clause()
            said.append(
                rng.choice(
                    [
                        f"a cell is blocked if {clause}, and no path goes through a blocked cell, "
                        "not even at its ends",
                        f"no path may contain a cell (its first and last included) for which "
                        f"{clause}",
                    ]
                )
            )
        if self.cost is not None:
            of = self.cost.phrase(rng, self._subjects())
            word = "costs" if self.aim == "least" else "is worth"
            said.append(f"each cell of a path, the first and the last included, {word} {of}")
        nodes = [node for node in self.nodes() if node is not None]
        if any(node.variables() & {"r", "c"} for node in nodes):
            said.append("rows and columns are counted from 0, from the top and from the left")
        return said

    def result(self, rng: Random) -> str:
        total = "total cost of a path" if self.aim == "least" else "total worth of a path"
        if self.aim == "count":
            return aim_words(rng, self.aim, "paths", "")
        word = rng.choice(["smallest", "least"] if self.aim == "least" else ["largest", "highest"])
        return f"the {word} {total}, or `None` if there is no path"

    def nodes(self) -> Sequence[Node | None]:
        return [self.blocked, self.cost]

    def oracle(self, grid: list[list[int]]) -> int | None:
        """Every path, grown cell by cell."""
        rows, columns = len(grid), len(grid[0])
        starts = range(columns) if self.moves == "falling" else range(1)
        growing = [((0, column), 0) for column in starts]
        totals = []
        while growing:
            (row, column), total = growing.pop()
            if not (0 <= row < rows and 0 <= column < columns):
                continue
            values = {"v": grid[row][column], "r": row, "c": column}
            if self.blocked is not None and self.blocked.evaluate(values):
                continue
            total += 0 if self.cost is None else self.cost.evaluate(values)
            if row == rows - 1 and (self.moves == "falling" or column == columns - 1):
                totals.append(total)
            growing += [((row + r, column + c), total) for r, c in _STEPS[self.moves]]
        return settled(self.aim, totals)

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield ([[4]],)
        yield ([[1, 2]],)
        yield ([[3], [0], [7]],)
        while True:
            rows, columns = rng.randint(2, 4), rng.randint(2, 4)
            low, high = rng.choice([(-5, 30), (0, 9), (0, 30), (1, 20)])
            yield ([[rng.randint(low, high) for _ in range(columns)] for _ in range(rows)],)

    def styles(self) -> tuple[str, ...]:
        return ("table", "recursive", "row by row")

    def _entry(self, naming: Naming, cell: str) -> tuple[str, str]:
        """The test of a blocked cell, "" for none; what a cell adds."""
        own = naming.renamed({"v": cell, "r": "row", "c": "column"})
        blocked = "" if self.blocked is None else f"{self.blocked.python(own)}"
        cost = "" if self.cost is None else f"{self.cost.python(own):product}"
        return blocked, cost

    def write(self, style: str, block: Block, naming: Naming) -> None:
        if style == "table":
            self._table(block, naming)
        elif style == "recursive":
            self._recursive(block, naming)
        else:
            self._rows(block, naming)

    def _is_start(self) -> str:
        return "row == 0" if self.moves == "falling" else "row == 0 and column == 0"

    def _table(self, block: Block, naming: Naming) -> None:
        """A table with a border of nothing, so that no step leaves it."""
        blocked, cost = self._entry(naming, "cell")
        nothing = "0" if self.aim == "count" else "None"
        before = ["table[row + 1][column]", "table[row][column + 1]"]
        if self.moves == "diagonal":
            before.append("table[row][column]")
        if self.moves == "falling":
            before = [f"table[row][column{shift}]" for shift in ("", " + 1", " + 2")]
        add_lines(
            block,
            f"""
            width = len(grid[0])
            table = [[{nothing}] * (width + 2) for _ in range(len(grid) + 1)]
            for row in range(len(grid)):
                for column in range(width):
                    cell = grid[row][column]
            """,
        )
        if self.aim != "count" and not (blocked or cost):
            block.lines.pop()
        block.indent += 2
        if not ("cell" in blocked or "cell" in cost):
            block.lines.pop()
        if blocked:
            add_lines(block, f"if {blocked}:\n    continue")
        if self.aim == "count":
            with block.inside(f"if {self._is_start()}:"):
                block.add("table[row + 1][column + 1] = 1")
            with block.inside("else:"):
                block.add(f"ways = {before[0]}")
                for one in before[1:]:
                    block.add(f"ways += {one}")
                block.add("table[row + 1][column + 1] = ways")
        else:
            block.add(f"before = [{', '.join(before)}]")
            block.add("totals = [total for total in before if total is not None]")
            with block.inside(f"if {self._is_start()}:"):
                block.add("totals = [0]")
            store = f"table[row + 1][column + 1] = {best_of(self.aim)}(totals) + {cost}"
            add_lines(block, f"if totals:\n    {store}" if blocked else store)
        block.indent -= 2
        self._table_end(block)

    def _table_end(self, block: Block) -> None:
        if self.moves != "falling":
            block.add("return table[len(grid)][width]")
        elif self.aim == "count":
            block.add("return sum(table[-1])")
        else:
            last = "[total for total in table[-1] if total is not None]"
            block.add(f"ends = {last}")
            block.add(f"return {best_of(self.aim)}(ends, default=None)")

    def _recursive(self, block: Block, naming: Naming) -> None:
        """From a cell to the end; what is known is kept in a table."""
        blocked, cost = self._entry(naming, "grid[row][column]")
        is_count = self.aim == "count"
        nothing = "0" if is_count else "None"
        inside = "0 <= column < len(grid[0])" if self.moves == "falling" else (
            "column < len(grid[0])")  # fmt: skip
        inside = f"row < len(grid) and {inside}"
        is_end = "row == len(grid) - 1"
        if self.moves != "falling":
            is_end += " and column == len(grid[0]) - 1"
        steps = [f"from_cell(row{_plus(r)}, column{_plus(c)})" for r, c in _STEPS[self.moves]]
        returns = self.returns().python()
        block.add("known = [{} for _ in grid]")
        block.add("")
        with block.inside(f"def from_cell(row: int, column: int) -> {returns}:"):
            add_lines(block, f"if not ({inside}):\n    return {nothing}")
            if blocked:
                add_lines(block, f"if {blocked}:\n    return {nothing}")
            with block.inside("if column not in known[row]:"):
                if is_count:
                    more = "".join(f"\n                            ways += {one}" for one in steps)
                    add_lines(
                        block,
                        f"""
                        ways = 0
                        if {is_end}:
                            ways = 1
                        else:{more}
                        known[row][column] = ways
                        """,
                    )
                else:
                    add_lines(
                        block,
                        f"""
                        after = [{", ".join(steps)}]
                        totals = [total for total in after if total is not None]
                        if {is_end}:
                            totals = [0]
                        best = {best_of(self.aim)}(totals, default=None)
                        if best is not None:
                            best += {cost}
                        known[row][column] = best
                        """,
                    )
            block.add("return known[row][column]")
        block.add("")
        if self.moves != "falling":
            block.add("return from_cell(0, 0)")
        elif is_count:
            block.add("return sum(from_cell(0, column) for column in range(len(grid[0])))")
        else:
            block.add("totals = [from_cell(0, column) for column in range(len(grid[0]))]")
            block.add("totals = [total for total in totals if total is not None]")
            block.add(f"return {best_of(self.aim)}(totals, default=None)")

    def _rows(self, block: Block, naming: Naming) -> None:
        """Keeps the row above and the one that is being made."""
        blocked, cost = self._entry(naming, "cell")
        is_count = self.aim == "count"
        ways = "ways" if is_count else "totals"
        block.add("above = []")
        loop = "for row, cells in enumerate(grid):"
        with block.inside(loop):
            block.add("current = []")
            with block.inside("for column, cell in enumerate(cells):"):
                add_lines(block, "before = []" if not is_count else "ways = 0")
                self._sources(block, is_count)
                if is_count:
                    with block.inside(f"if {self._is_start()}:"):
                        block.add("ways = 1")
                    value, nothing = ways, "0"
                else:
                    with block.inside(f"if {self._is_start()}:"):
                        block.add("before = [0]")
                    if blocked:
                        block.add("totals = [total for total in before if total is not None]")
                    name = "totals" if blocked else "before"
                    value, nothing = f"{best_of(self.aim)}({name}) + {cost}", "None"
                usable = [] if is_count or not blocked else ["totals"]
                if blocked:
                    usable.append(f"not ({blocked})")
                if usable:
                    with block.inside(f"if {' and '.join(usable)}:"):
                        block.add(f"current.append({value})")
                    with block.inside("else:"):
                        block.add(f"current.append({nothing})")
                else:
                    block.add(f"current.append({value})")
            block.add("above = current")
        if self.moves != "falling":
            block.add("return above[-1]")
        elif is_count:
            block.add("return sum(above)")
        elif blocked:
            block.add("ends = [total for total in above if total is not None]")
            block.add(f"return {best_of(self.aim)}(ends, default=None)")
        else:
            block.add(f"return {best_of(self.aim)}(above)")

    def _sources(self, block: Block, is_count: bool) -> None:
        """Adds what can be reached from the left and from the row above."""
        if self.moves == "falling":
            near = "above[max(0, column - 1) : column + 2]"
            block.add(f"ways += sum({near})" if is_count else f"before.extend({near})")
            return
        sources = [("column > 0", "current[column - 1]"), ("row > 0", "above[column]")]
        if self.moves == "diagonal":
            sources.append(("row > 0 and column > 0", "above[column - 1]"))
        for test, source in sources:
            with block.inside(f"if {test}:"):
                block.add(f"ways += {source}" if is_count else f"before.append({source})")


def _plus(amount: int) -> str:
    return "" if amount == 0 else f" + {amount}" if amount > 0 else f" - {-amount}"


def draw_path(rng: Random) -> Plan:
    moves: Moves = rng.choice(["corner", "diagonal", "falling"])
    aim: Aim = rng.choice(["least", "least", "most", "most", "count"])
    blocked = None
    if aim == "count" or rng.random() < 0.6:
        on = rng.choice([[CELL], [CELL], [CELL, rng.choice([ROW, COLUMN])]])
        joins = rng.random() < 0.35
        for _ in range(20):
            if joins:
                blocked = draw_joined(rng, CELL, rng.choice([ROW, COLUMN]))
            else:
                blocked = draw_test(rng, on, 2 if len(on) == 1 and rng.random() < 0.6 else 1)
            grid = [{"v": v, "r": v % 4, "c": v // 4 % 4} for v in range(21)]
            if sum(bool(blocked.evaluate(cell)) for cell in grid) <= 0.45 * len(grid):
                break
        else:
            raise NothingDrawn
    cost = None
    if aim != "count":
        on = rng.choice([[CELL], [CELL, ROW], [CELL, COLUMN]])
        cost = draw_integer(rng, on, rng.choice([1, 2, 2]))
    return Path(moves, aim, blocked, cost)
