"""A walker on a grid with obstacles, moved by the letters of a text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from megatron_codemix.corpus.synthesis.families.found import Body, Producer, Row, Rows
from megatron_codemix.corpus.synthesis.families.pieces import add_lines, drawn_telling, specs_of
from megatron_codemix.corpus.synthesis.families.summary import RowWords
from megatron_codemix.corpus.synthesis.grammar.code import negated
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn, draw_test
from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Node, Range, Variable
from megatron_codemix.corpus.synthesis.problem import Arguments, Parameter
from megatron_codemix.corpus.synthesis.values import Int, Str
from megatron_codemix.corpus.synthesis.writing.statement import Given

Edge = Literal["wall", "wrap", "open"]
_MOVES = {"N": (0, 1), "E": (1, 0), "S": (0, -1), "W": (-1, 0)}
_MOST = 16


@dataclass(frozen=True)
class Walk:
    size: int
    """Columns and rows; 0 where there is no edge."""
    edge: Edge
    blocked: Node | None
    """Of `x` and `y`; never of the start."""
    only_moves: bool
    """Whether rows are only the moves that were not refused."""

    def subject(self) -> str:
        return "walk_steps"

    def title(self) -> str:
        return "Where a walker on a grid gets to."

    def spec(self) -> Any:
        return ["walk", self.size, self.edge, *specs_of([self.blocked]), self.only_moves]

    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("path", Str()),)

    def given(self) -> list[Given]:
        return [Given("path", "a text of the letters `N`, `E`, `S` and `W`")]

    def model(self, rng: Random, used: set[str]) -> list[str]:
        who = rng.choice(["a walker", "a robot", "a turtle", "a token"])
        last = self.size - 1
        grid = {
            "wall": f"{who} stands at `x = 0`, `y = 0` of a grid where `x` and `y` go from 0 to "
            f"{last}; a step that would leave the grid is refused",
            "wrap": f"{who} stands at `x = 0`, `y = 0` of a grid where `x` and `y` go from 0 to "
            f"{last}; who leaves the grid on one side comes back on the opposite side of the same "
            "row or column",
            "open": f"{who} stands at `x = 0`, `y = 0` of a grid without edges (`x` and `y` may "
            "become negative)",
        }[self.edge]
        said = [
            grid,
            "each letter of the text is one step: `N` raises `y` by 1, `S` lowers it by 1, `E` "
            "raises `x` by 1, `W` lowers it by 1",
        ]
        if self.blocked is not None:
            clause = self.blocked.condition(rng, self._subjects()).clause()
            said.append(
                rng.choice(
                    [
                        f"a step is refused, too, if at its target {clause}"
                        if self.edge == "wall"
                        else f"a step is refused if at its target {clause}",
                        f"there is an obstacle wherever {clause}, and steps onto obstacles are "
                        "refused",
                    ]
                )
            )
        if self.edge == "wall" or self.blocked is not None:
            said.append("a refused step changes nothing")
        return said

    def steps(self, rng: Random) -> list[str]:
        return []

    def words(self) -> RowWords:
        if self.only_moves:
            return RowWords("step", "steps", "in their order", "that are not refused",
                            "that is not refused")  # fmt: skip
        return RowWords("step", "steps", "in their order")

    def _subjects(self) -> dict[str, Subject]:
        return {"x": Subject("`x`"), "y": Subject("`y`")}

    def subjects(self) -> dict[str, Subject]:
        return {"x": Subject("`x` after it"), "y": Subject("`y` after it")}

    def bounds(self) -> dict[str, Range]:
        span = (0, self.size - 1) if self.size else (-_MOST, _MOST)
        return {"x": span, "y": span}

    def nodes(self) -> Sequence[Node | None]:
        return [self.blocked]

    def rows(self, path: str) -> list[Row]:
        """By a complex number that is turned into coordinates."""
        at, rows = 0 + 0j, []
        for letter in path:
            target = at + 1j ** ("ENWS".index(letter))
            x, y = round(target.real), round(target.imag)
            if self.edge == "wrap":
                x, y = x % self.size, y % self.size
            is_out = self.edge == "wall" and not (0 <= x < self.size and 0 <= y < self.size)
            is_refused = is_out or bool(
                self.blocked is not None and self.blocked.evaluate({"x": x, "y": y})
            )
            if not is_refused:
                at = complex(x, y)
            if not (is_refused and self.only_moves):
                rows.append({"x": round(at.real), "y": round(at.imag)})
        return rows

    def inputs(self, rng: Random) -> Iterator[Arguments]:
        yield ("",)
        yield ("E",)
        yield ("WS",)
        yield ("NNEE",)
        while True:
            weights = rng.choice([[3, 3, 1, 1], [1, 1, 1, 1], [1, 3, 2, 1], [2, 1, 1, 2]])
            yield ("".join(rng.choices("NESW", weights, k=rng.randint(3, _MOST))),)

    def styles(self) -> tuple[str, ...]:
        return ("table", "branches", "function")

    def write(self, style: str, body: Body) -> Rows:
        block = body.block
        block.names |= {"x", "y", "letter", "new_x", "new_y", "places"}
        if style == "table":
            block.add('moves = {"N": (0, 1), "E": (1, 0), "S": (0, -1), "W": (-1, 0)}')
        if style == "function":
            body.parts.append(
                "def step(x: int, y: int, letter: str) -> tuple[int, int]:\n"
                '    if letter in "NS":\n'
                '        return x, y + (1 if letter == "N" else -1)\n'
                '    return x + (1 if letter == "E" else -1), y'
            )
        block.add("places = []")
        block.add("x, y = 0, 0")
        with block.inside("for letter in path:"):
            if style == "table":
                block.add("right, up = moves[letter]")
                block.add("new_x, new_y = x + right, y + up")
            elif style == "function":
                block.add("new_x, new_y = step(x, y, letter)")
            else:
                add_lines(
                    block,
                    """
                    new_x, new_y = x, y
                    if letter == "N":
                        new_y += 1
                    elif letter == "S":
                        new_y -= 1
                    elif letter == "E":
                        new_x += 1
                    else:
                        new_x -= 1
                    """,
                )
            if self.edge == "wrap":
                add_lines(block, f"new_x %= {self.size}\nnew_y %= {self.size}")
            self._refusal(body)
        x = "x" if "x" in body.used or not body.used else "_"
        y = "y" if "y" in body.used else "_"
        return Rows(f"{x}, {y} in places", {"x": "x", "y": "y"})

    def _refusal(self, body: Body) -> None:
        block = body.block
        tests = []
        if self.edge == "wall":
            tests += [f"0 <= new_x < {self.size}", f"0 <= new_y < {self.size}"]
        if self.blocked is not None:
            naming = body.naming.renamed({"x": "new_x", "y": "new_y"})
            tests.append(f"{negated(self.blocked.python(naming)):and}")
        if not tests:
            block.add("x, y = new_x, new_y")
            block.add("places.append((x, y))")
            return
        with block.inside(f"if {' and '.join(tests)}:"):
            block.add("x, y = new_x, new_y")
            if self.only_moves:
                block.add("places.append((x, y))")
        if not self.only_moves:
            block.add("places.append((x, y))")


def draw_walk(rng: Random) -> tuple[Producer, str]:
    size = rng.choice([5, 6, 7, 8])
    edge: Edge = rng.choice(["wall", "wrap", "open"])
    low, high = (-3, 5) if edge == "open" else (0, size - 1)
    bounds = (-_MOST, _MOST) if edge == "open" else (low, high)
    variables = [Variable(one, Int(low, high), "int", bounds) for one in "xy"]
    cells = [{"x": x, "y": y} for x in range(low, high + 1) for y in range(low, high + 1)]
    blocked = None
    if edge == "open" or rng.random() < 0.85:
        for _ in range(20):
            blocked = drawn_telling(lambda: draw_test(rng, variables, 1), cells)
            share = sum(bool(blocked.evaluate(cell)) for cell in cells) / len(cells)
            ways = [blocked.evaluate({"x": 1, "y": 0}), blocked.evaluate({"x": 0, "y": 1})]
            if share <= 0.4 and not blocked.evaluate({"x": 0, "y": 0}) and not all(ways):
                break
        else:
            raise NothingDrawn
    can_refuse = edge == "wall" or blocked is not None
    return Walk(0 if edge == "open" else size, edge, blocked, can_refuse and rng.random() < 0.5), ""
