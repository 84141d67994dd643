"""Classes that problems are about: a text, a group, two numbers, and what is computed of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from megatron_codemix.corpus.synthesis.grammar.english import Subject
from megatron_codemix.corpus.synthesis.grammar.node import Variable
from megatron_codemix.corpus.synthesis.problem import Arguments
from megatron_codemix.corpus.synthesis.values import Int, ListOf, Record, RecordValue, Str

IMPORT = "from dataclasses import dataclass"


@dataclass(frozen=True)
class Theme:
    class_name: str
    noun: str
    nouns: str
    group: str
    """The field that says which group one belongs to."""
    groups: tuple[str, ...]
    first: tuple[str, int, int]
    """Field, least and largest value."""
    second: tuple[str, int, int]
    measure: str
    """What is computed: the name of a method."""

    @property
    def record(self) -> Record:
        return Record(self.class_name, (
            (self.group, Str()), (self.first[0], Int(*self.first[1:])),
            (self.second[0], Int(*self.second[1:])),
        ))  # fmt: skip

    def variables(self) -> list[Variable]:
        fields = zip("ab", (self.first, self.second), strict=True)
        return [Variable(name, Int(low, high), "int", (low, high)) for name, (_, low, high) in
                fields]  # fmt: skip

    def values(self, value: RecordValue) -> dict[str, int]:
        return {"a": value[self.first[0]], "b": value[self.second[0]]}

    def field_names(self, owner: str) -> dict[str, str]:
        return {"a": f"{owner}.{self.first[0]}", "b": f"{owner}.{self.second[0]}"}

    def local_names(self) -> dict[str, str]:
        return {"a": self.first[0], "b": self.second[0]}

    def subjects(self) -> dict[str, Subject]:
        return {
            "a": Subject(f"the {self.first[0]}"),
            "b": Subject(f"the {self.second[0]}"),
            "v": Subject(f"the {self.measure}"),
        }

    def described(self, rng: Random) -> str:
        """A sentence that determines the class."""
        fields = f"`{self.group}` (a text), `{self.first[0]}` and `{self.second[0]}` (integers)"
        return rng.choice(
            [
                f"`{self.class_name}` is a dataclass with the fields {fields}, in this order; "
                "define it, too",
                f"define a dataclass `{self.class_name}` with these fields in this order: {fields}",
                f"each {self.noun} is an object of a dataclass `{self.class_name}`, which you also "
                f"have to write; its fields are, in order, {fields}",
            ]
        )

    def draw(self, rng: Random) -> RecordValue:
        first, second = (Int(*one[1:]).draw(rng, 8) for one in (self.first, self.second))
        group = rng.choice(self.groups)
        return RecordValue(self.class_name, (
            (self.group, group), (self.first[0], first), (self.second[0], second),
        ))  # fmt: skip

    def list_type(self) -> ListOf:
        return ListOf(self.record)

    def lists(self, rng: Random) -> Iterator[Arguments]:
        """None, one, two equal; then random ones."""
        yield ([],)
        one = self.draw(rng)
        yield ([one],)
        yield ([one, one],)
        while True:
            yield ([self.draw(rng) for _ in range(rng.randint(2, 6))],)


THEMES = (
    Theme("Parcel", "parcel", "parcels", "city", ("Oslo", "Rome", "Lima"),
          ("weight", 1, 40), ("distance", 1, 90), "cost"),
    Theme("Player", "player", "players", "team", ("red", "blue", "green"),
          ("level", 1, 30), ("health", 0, 99), "rating"),
    Theme("Book", "book", "books", "shelf", ("A", "B", "C"),
          ("length", 10, 99), ("stock", 0, 20), "demand"),
    Theme("Plant", "plant", "plants", "bed", ("north", "south", "west"),
          ("height", 1, 60), ("age", 0, 25), "need"),
    Theme("Ticket", "ticket", "tickets", "show", ("opera", "circus", "play"),
          ("row", 1, 30), ("price", 5, 80), "value"),
    Theme("Song", "song", "songs", "genre", ("jazz", "folk", "rock"),
          ("length", 1, 15), ("popularity", 0, 99), "appeal"),
    Theme("Sensor", "sensor", "sensors", "room", ("attic", "hall", "cellar"),
          ("reading", -20, 40), ("age", 0, 30), "trust"),
    Theme("Trade", "trade", "trades", "market", ("gold", "oil", "corn"),
          ("amount", 1, 25), ("change", -30, 30), "profit"),
    Theme("Runner", "runner", "runners", "club", ("Hares", "Foxes", "Owls"),
          ("age", 10, 25), ("time", 10, 99), "score"),
    Theme("Room", "room", "rooms", "floor", ("ground", "first", "top"),
          ("width", 2, 15), ("length", 2, 25), "comfort"),
    Theme("Meal", "meal", "meals", "menu", ("lunch", "dinner", "brunch"),
          ("price", 3, 40), ("energy", 10, 99), "worth"),
    Theme("Robot", "robot", "robots", "factory", ("east", "west", "main"),
          ("speed", 1, 30), ("charge", 0, 99), "power"),
)  # fmt: skip


def class_text(theme: Theme, methods: str = "") -> str:
    """The class with its fields, and methods at its own indentation behind them."""
    return theme.record.definition() + (f"\n\n{methods}" if methods else "")


def method(name: str, returns: str, expression: str, doc: str = "") -> str:
    lines = [f"    def {name}(self) -> {returns}:"]
    if doc:
        lines.append(f'        """{doc}"""')
    return "\n".join([*lines, f"        return {expression}"])
