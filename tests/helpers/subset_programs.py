"""Random small programs of the restricted Python, with inputs: what a translation is tried on.

Programs are typed, so that most of them run; a call that raises is left out by the caller. Products
are kept small, so that no integer comes near 2**53. Nothing depends on the order of a set.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from tests.helpers.subset_forms import (
    BOARD,
    BOOL,
    CHANGES,
    COUNTS,
    EXPRESSIONS,
    GRID,
    GROUPS,
    INT,
    INTS,
    ITEM,
    ITEMS,
    MAYBE,
    NUMBERS,
    PAIR,
    PAIRS,
    POINT,
    POINTS,
    STR,
    STRS,
    WORDS,
)

PARAMETERS = (INT, INT, STR, BOOL, INTS, INTS, STRS, GRID, PAIRS, COUNTS, GROUPS, BOARD, NUMBERS)
RESULTS = (
    INT, BOOL, STR, MAYBE, INTS, STRS, GRID, PAIR, PAIRS, COUNTS, GROUPS, BOARD, NUMBERS, POINTS,
    ITEM, ITEMS,
)  # fmt: skip
LOCALS = (INT, INT, INT, BOOL, STR, INTS, INTS, STRS, GRID, PAIR, PAIRS, COUNTS, GROUPS, BOARD,
          NUMBERS, POINTS, MAYBE, ITEM, ITEMS, WORDS)  # fmt: skip
NAMES = (
    "total", "value", "best_so_far", "new", "default", "index", "word", "function", "row", "a", "b",
    "x", "left_end", "count", "typeof", "item", "mod", "range_end", "this", "result", "i", "best",
)  # fmt: skip
LETTERS = "abcXYZ019 ,.-$`\\\"'{}\n"

HEADER = '''from dataclasses import dataclass


@dataclass
class Item:
    """A thing with a name."""

    unit_price: int
    name: str = "none"

    def price_of(self, count: int) -> int:
        return self.unit_price * (count % 7)

    def raise_price(self, by: int) -> None:
        self.unit_price += by


def helper(number: int, step: int = 2) -> int:
    if number < 0:
        return step
    return number % (abs(step) + 1)


def depth(number: int) -> int:
    """Halvings until there is nothing left."""
    return 0 if number < 2 else 1 + depth(number // 2)
'''


class Maker:
    """Draws one program: `source()`, whose function is `solve`, and `arguments()`."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.scope: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        """What each name of the function is, wherever it is bound."""
        self.least = 1
        """Elements of a display: an empty one says nothing of its type."""
        self.fixed: set[str] = set()
        """Names that loops go over or count with: not to be changed inside."""
        self.lines: list[str] = []
        self.indent = 1
        self.loops = 0
        self.types = [rng.choice(PARAMETERS) for _ in range(rng.randint(2, 4))]
        self.returns = rng.choice(RESULTS)

    def source(self) -> str:
        names = ["first_one", "second", "third_of_all", "fourth"][: len(self.types)]
        self.scope = dict(zip(names, self.types, strict=True))
        self.kinds = dict(self.scope)
        heads = ", ".join(f"{name}: {kind}" for name, kind in self.scope.items())
        for _ in range(self.rng.randint(2, 6)):
            self.statement(2)
        self.add(f"return {self.draw(self.returns, 3)}")
        body = "\n".join(self.lines)
        return f"{HEADER}\n\ndef solve({heads}) -> {self.returns}:\n{body}\n"

    def arguments(self) -> str:
        """Source text, as between the brackets of a call."""
        self.least = 0
        return ", ".join(self.constant(kind) for kind in self.types)

    # Values.

    def constant(self, kind: str) -> str:
        rng = self.rng

        def many(inner: str, most: int = 5) -> list[str]:
            return [self.constant(inner) for _ in range(rng.randint(self.least, most))]

        match kind:
            case "int":
                return str(rng.choice([rng.randint(-9, 9), rng.randint(-60, 60), 0, 1]))
            case "bool":
                return rng.choice(["True", "False"])
            case "str":
                words = ["", "abc", "A b", "x,y", "10", "aa", self.text()]
                return repr(rng.choice(words))
            case "int | None":
                return f"({self.constant(INT)} if {self.constant(BOOL)} else None)"
            case "tuple[int, str]":
                return f"({self.constant(INT)}, {self.constant(STR)})"
            case "tuple[int, int]":
                return f"({rng.randint(-2, 2)}, {rng.randint(0, 2)})"
            case "dict[str, int]":
                pairs = [f"{key}: {self.constant(INT)}" for key in many(STR)]
                return f"{{{', '.join(pairs)}}}"
            case "dict[int, list[int]]":
                pairs = [f"{key}: {self.constant(INTS)}" for key in many(INT, 3)]
                return f"{{{', '.join(pairs)}}}"
            case "dict[tuple[int, int], int]":
                pairs = [f"{key}: {self.constant(INT)}" for key in many(POINT)]
                return f"{{{', '.join(pairs)}}}"
            case "Item":
                return f"Item(unit_price={self.constant(INT)}, name={self.constant(STR)})"
        inner = kind[kind.index("[") + 1 : -1]
        elements = ", ".join(many(inner))
        if kind.startswith("set"):
            return f"{{{elements}}}" if elements else "set()"
        return f"[{elements}]"

    def text(self) -> str:
        return "".join(self.rng.choice(LETTERS) for _ in range(self.rng.randint(0, 8)))

    # Expressions.

    def draw(self, kind: str, depth: int) -> str:
        """An expression of a type, in brackets where it needs them anywhere."""
        known = [name for name, one in self.scope.items() if one == kind]
        if known and self.rng.random() < (0.35 if depth > 0 else 0.8):
            return self.rng.choice(known)
        if depth <= 0:
            return self.constant(kind)
        made = self.rng.choice(EXPRESSIONS[kind])(self, depth - 1)
        return made.replace("\x00", "")

    @contextmanager
    def bound(self, *kinds: str) -> Iterator[list[str]]:
        """Names of a comprehension or a lambda."""
        before = dict(self.scope)
        names: list[str] = []
        for kind in kinds:
            free = [one for one in NAMES if one not in names and one not in before]
            names.append(self.rng.choice(free or [f"z{len(before)}"]))
            self.scope[names[-1]] = kind
        yield names
        self.scope = before

    def small(self) -> str:
        return str(self.rng.choice([1, 2, 3, 5, -2, -3]))

    def cut(self, depth: int) -> str:
        """The inside of the brackets of a slice."""
        ends = [self.rng.choice(["", self.draw(INT, depth - 1), str(self.rng.randint(-4, 4))])
                for _ in range(2)]  # fmt: skip
        step = self.rng.choice(["", "", "", ":-1", ":2", ":-2", ":3"])
        return f"{ends[0]}:{ends[1]}{step}"

    def condition(self, depth: int) -> str:
        """Of any type: Python takes what is empty or zero for false."""
        kind = self.rng.choice((BOOL, BOOL, BOOL, INT, STR, INTS, COUNTS, NUMBERS, GRID, MAYBE))
        return self.draw(kind, depth)

    def comprehension(self, element: str, depth: int, whole: str | None = None) -> str:
        """The inside of the brackets: an element of a type (or `whole`), over something."""
        forms: list[Callable[[], tuple[list[str], str]]] = [
            lambda: ([INT], self.draw(INTS, depth)),
            lambda: ([INT], f"range({self.draw(INT, 0)} % 6)"),
            lambda: ([INT], f"range({self.constant(INT)}, {self.draw(INT, 0)}, {self.small()})"),
            lambda: ([STR], self.draw(STR, depth)),
            lambda: ([STR], self.draw(STRS, depth)),
            lambda: ([INT, INT], f"enumerate({self.draw(INTS, depth)})"),
            lambda: ([INT, STR], f"enumerate({self.draw(STRS, depth)}, 1)"),
            lambda: ([INT, STR], f"zip({self.draw(INTS, depth)}, {self.draw(STR, depth)})"),
            lambda: ([STR, INT], f"{self.draw(COUNTS, 0)}.items()"),
            lambda: ([STR], self.draw(COUNTS, 0)),
            lambda: ([INT, STR], self.draw(PAIRS, depth)),
            lambda: ([INT], f"sorted({self.draw(NUMBERS, depth)})"),
            lambda: ([INT], f"reversed({self.draw(INTS, depth)})"),
        ]
        kinds, items = self.rng.choice(forms)()
        with self.bound(*kinds) as names:
            target = ", ".join(names)
            if self.rng.random() < 0.2:
                inner = self.draw(INTS, 0)
                with self.bound(INT) as (extra,):
                    first = self.draw(element, depth) if whole is None else whole
                    return f"{first} for {target} in {items} for {extra} in {inner}"
            test = f" if {self.condition(depth - 1)}" if self.rng.random() < 0.4 else ""
            first = self.draw(element, depth) if whole is None else whole
            return f"{first} for {target} in {items}{test}"

    def function(self, kind: str, gives: str, depth: int) -> str:
        """A lambda."""
        with self.bound(kind) as (name,):
            return f"lambda {name}: {self.draw(gives, depth)}"

    def key(self, kind: str, depth: int) -> str:
        gives = self.rng.choice((INT, INT, STR, PAIR, BOOL, f"-{INT}", "both"))
        if kind == STR and self.rng.random() < 0.3:
            return "len"
        with self.bound(kind) as (name,):
            match gives:
                case "-int":
                    return f"lambda {name}: -{self.draw(INT, depth)}"
                case "both":
                    return f"lambda {name}: (-{self.draw(INT, depth)}, {self.draw(STR, depth)})"
            return f"lambda {name}: {self.draw(gives, depth)}"

    # Statements.

    def add(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Names that begin inside are not known behind it."""
        self.add(head)
        before = dict(self.scope)
        self.indent += 1
        yield
        self.indent -= 1
        self.scope = before

    def statement(self, depth: int) -> None:
        choices: list[Callable[[int], None]] = [
            self.assignment, self.assignment, self.assignment, self.augmented, self.change,
            self.change, self.unpacking,
        ]  # fmt: skip
        if depth > 0:
            choices += [
                self.conditional,
                self.for_loop,
                self.for_loop,
                self.while_loop,
                self.both_ways,
            ]
            choices += [self.nested_function] if self.indent == 1 else []
        self.rng.choice(choices)(depth)

    def body(self, depth: int) -> None:
        before = len(self.lines)
        for _ in range(self.rng.randint(1, 3)):
            self.statement(depth - 1)
        if len(self.lines) == before:
            self.add("pass")
        if self.loops and self.rng.random() < 0.3:
            with self.block(f"if {self.condition(1)}:"):
                self.add(self.rng.choice(["break", "continue", "continue", "pass"]))

    def target(self, kind: str) -> str:
        """An old or a new name."""
        old = [name for name, one in self.kinds.items() if one == kind and name not in self.fixed]
        if old and self.rng.random() < 0.5:
            return self.rng.choice(old)
        free = [one for one in NAMES if one not in self.kinds]
        name = self.rng.choice(free) if free else f"name_{len(self.kinds)}"
        self.kinds[name] = kind
        return name

    def changed(self, kind: str) -> str | None:
        known = [name for name, one in self.scope.items() if one == kind and name not in self.fixed]
        return self.rng.choice(known) if known else None

    def assignment(self, depth: int) -> None:
        kind = self.rng.choice(LOCALS)
        value = self.draw(kind, 2)
        name = self.target(kind)
        if self.scope.get(name, kind) != kind or name in self.fixed:
            return
        hint = f": {kind}" if name not in self.scope or self.rng.random() < 0.2 else ""
        self.add(f"{name}{hint} = {value}")
        self.scope[name] = kind

    def both_ways(self, depth: int) -> None:
        """A name that both branches give a value."""
        kind = self.rng.choice(LOCALS[:6])
        name = self.target(kind)
        test, one, other = self.condition(2), self.draw(kind, 2), self.draw(kind, 2)
        if self.scope.get(name, kind) != kind or name in self.fixed:
            return
        self.add(f"if {test}:")
        self.add(f"    {name} = {one}")
        self.add("else:")
        self.add(f"    {name} = {other}")
        self.scope[name] = kind

    def unpacking(self, depth: int) -> None:
        forms = [
            ((INT, INT), lambda: f"{self.draw(INT, 1)}, {self.draw(INT, 1)}"),
            ((INT, STR), lambda: self.draw(PAIR, 1)),
            ((INT, INT), lambda: f"divmod({self.draw(INT, 1)}, {self.small()})"),
            ((STR, INTS), lambda: f"{self.draw(STR, 1)}, {self.draw(INTS, 1)}"),
        ]
        kinds, value = self.rng.choice(forms)
        text = value()
        names = [self.target(kind) for kind in kinds]
        pairs = list(zip(names, kinds, strict=True))
        if len(set(names)) < 2 or any(self.scope.get(name, kind) != kind for name, kind in pairs):
            return
        self.add(f"{names[0]}, {names[1]} = {text}")
        self.scope.update(pairs)
        swapped = [
            name for name, one in self.scope.items() if one == INT and name not in self.fixed
        ]
        if len(swapped) > 1 and self.rng.random() < 0.4:
            one, other = self.rng.sample(swapped, 2)
            self.add(f"{one}, {other} = {other}, {one} + {self.draw(INT, 1)}")

    def augmented(self, depth: int) -> None:
        kind = self.rng.choice((INT, INT, INT, STR, INTS))
        if (name := self.changed(kind)) is None:
            return
        if kind == STR:
            self.add(f"{name} += {self.draw(STR, 1)}[:9]")
        elif kind == INTS:
            self.add(f"{name} += {self.draw(INTS, 1)}[:5]")
        else:
            value = self.draw(INT, 2)
            form = self.rng.choice(["+= {}", "-= {}", "//= {}", "%= {}", "*= 1 + {} % 2"])
            small = value if form.startswith(("+", "-")) else self.small()
            self.add(f"{name} {form.format(small)}")

    def change(self, depth: int) -> None:
        """What changes a container in place."""
        names = [name for name, kind in self.scope.items() if kind in CHANGES]
        free = [name for name in names if name not in self.fixed]
        if free:
            name = self.rng.choice(free)
            self.add(self.rng.choice(CHANGES[self.scope[name]])(self, name))

    def conditional(self, depth: int) -> None:
        with self.block(f"if {self.condition(2)}:"):
            self.body(depth)
        if self.rng.random() < 0.3:
            with self.block(f"elif {self.condition(2)}:"):
                self.body(depth)
        if self.rng.random() < 0.5:
            with self.block("else:"):
                self.body(depth)

    def for_loop(self, depth: int) -> None:
        count = f"({self.draw(INT, 1)}) % 7"
        forms: list[tuple[list[str], str]] = [
            ([INT], f"range({count})"),
            ([INT], f"range({self.constant(INT)}, {count})"),
            ([INT], f"range({count}, {self.constant(INT)}, {self.small()})"),
            ([INT], f"range({count}, -1, -1)"),
            ([INT], f"reversed(range({count}))"),
            ([INT], f"range(len({self.draw(INTS, 0)}))"),
            ([INT], f"{self.draw(INTS, 1)}[:6]"),
            ([STR], f"{self.draw(STR, 1)}[:6]"),
            ([STR], f"{self.draw(STRS, 1)}[:6]"),
            ([INT, INT], f"enumerate({self.draw(INTS, 1)}[:6])"),
            ([INT, STR], f"enumerate({self.draw(STRS, 1)}[:6], start=1)"),
            ([INT, STR], f"zip({self.draw(INTS, 1)}[:6], {self.draw(STRS, 1)})"),
            ([STR, INT], f"list({self.draw(COUNTS, 1)}.items())[:6]"),
            ([INT, STR], f"{self.draw(PAIRS, 1)}[:6]"),
            ([INT], f"sorted({self.draw(NUMBERS, 1)})"),
        ]
        plain = self.changed(COUNTS)
        if plain is not None:
            forms.append(([STR, INT], f"{plain}.items()"))
        kinds, items = self.rng.choice(forms)
        names = [self.target(kind) for kind in kinds]
        pairs = list(zip(names, kinds, strict=True))
        if len(set(names)) < len(names) or any(
            self.scope.get(one, kind) != kind for one, kind in pairs
        ):
            return
        target = ", ".join(names if self.rng.random() < 0.85 else ["_", *names[1:]])
        fixed = set(self.fixed)
        if plain is not None and items == f"{plain}.items()":
            self.fixed.add(plain)
        if items.startswith("range") and self.rng.random() < 0.7:
            self.fixed |= set(names)
        with self.block(f"for {target} in {items}:"):
            if not target.startswith("_"):
                self.scope.update(pairs)
            elif len(pairs) > 1:
                self.scope[names[1]] = kinds[1]
            self.loops += 1
            self.body(depth)
            self.loops -= 1
        self.fixed = fixed

    def while_loop(self, depth: int) -> None:
        name = self.target(INT)
        if self.scope.get(name, INT) != INT or name in self.fixed:
            return
        self.add(f"{name} = {self.draw(INT, 1)} % 6")
        self.scope[name] = INT
        test = self.rng.choice([f"{name} > 0", f"{name}", f"{name} >= 1 and {self.condition(1)}"])
        fixed = set(self.fixed)
        self.fixed.add(name)
        with self.block(f"while {test}:"):
            self.add(f"{name} -= 1")
            self.loops += 1
            self.body(depth)
            self.loops -= 1
        self.fixed = fixed

    def nested_function(self, depth: int) -> None:
        name = self.target("function")
        if name in self.scope:
            return
        lines, loops = self.lines, self.loops
        self.lines, self.loops = [], 0
        before, fixed, kinds = dict(self.scope), set(self.fixed), self.kinds
        self.kinds = {**kinds, "given": INT}
        self.fixed |= set(self.scope)
        self.indent += 1
        self.scope["given"] = INT
        self.statement(1)
        self.add(f"return {self.draw(INT, 2)}")
        self.indent -= 1
        inner, self.lines, self.loops = self.lines, lines, loops
        self.scope, self.fixed, self.kinds = before, fixed, kinds
        self.add(f"def {name}(given: int) -> int:")
        self.lines += inner
        other = self.target(INT)
        if self.scope.get(other, INT) == INT and other not in (name, *self.fixed):
            self.add(f"{other} = {name}({self.draw(INT, 1)})")
            self.scope[other] = INT
        self.scope[name] = "function"
