"""What is wrong with phases, in the words of the study file: the line of the field, the phases."""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

from megatron_codemix.config.tree import Tree, nearest_place, where_of
from megatron_codemix.errors import ConfigError
from megatron_codemix.study.phase_configs import phase_tree
from megatron_codemix.study.spec import StudySpec

_FIELD = re.compile(r"[\w.-]*")
"""Problems begin with the path of the field that they are about."""


class PhaseProblems:
    """Collects problems of phases; one that several phases have from the same line is one."""

    def __init__(self, spec: StudySpec, points: Mapping[str, Mapping[str, str]]) -> None:
        """points: cell -> axis -> value."""
        self.spec, self.points = spec, points
        self._full_size = spec.model_copy(update={"token_scale": Decimal(1)})
        self._found: dict[tuple[str, str], list[str]] = {}
        """(place, problem) -> phases that have it."""
        self._trees: dict[str, Tree] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, key: str, problems: Sequence[str]) -> None:
        """Problems of the phase `cell/phase`; each begins with a place or the field's path."""
        for problem in problems:
            found = self._found.setdefault(self._placed(key, problem), [])
            if key not in found:
                found.append(key)

    def lines(self) -> list[str]:
        """Each with its line, where the field stands in a file, and its phases; one that all phases
        have is one of the defaults."""
        return [
            ": ".join(part for part in (place, self._phases(keys), text) if part)
            for (place, text), keys in self._found.items()
        ]

    def _phases(self, keys: Sequence[str]) -> str:
        if len(keys) == len(self.spec.phases) * len(self.points):
            return "every phase"
        is_one_cell = len(self.points) == 1
        names = dict.fromkeys(key.partition("/")[2] if is_one_cell else key for key in keys)
        return f"phase{'s' if len(names) > 1 else ''} {', '.join(names)}"

    def _placed(self, key: str, problem: str) -> tuple[str, str]:
        """(place, problem without it)."""
        for place in self._places:
            if problem.startswith(f"{place}: "):
                return place, problem.removeprefix(f"{place}: ")
        field = _FIELD.match(problem)
        return self._place_of(key, field.group() if field else ""), problem

    def _place_of(self, key: str, path: str) -> str:
        """Of a field of the phase's configuration, or of the study file."""
        section = path.partition(".")[0]
        if section == "init_from":
            return self.spec.nearest_place(f"phases.{key.partition('/')[2]}.{path}")
        if section in type(self.spec).model_fields:
            return self.spec.nearest_place(path)
        return nearest_place(self._tree(key), path)

    def _tree(self, key: str) -> Tree:
        if key not in self._trees:
            cell, _, name = key.partition("/")
            phase, point = self.spec.phases[name], self.points[cell]
            try:
                tree = phase_tree(self._full_size, point, phase, cell)
            except ConfigError:  # its problems have their places already
                tree = {}
            self._trees[key] = tree
        return self._trees[key]

    @cached_property
    def _places(self) -> list[str]:
        """All that problems may begin with."""
        return list(dict.fromkeys([*self.spec.places(), *_places_in(self.spec.defaults)]))


def _places_in(node: Any) -> Iterator[str]:  # Any: a value of a Tree
    if isinstance(node, list):
        for item in node:
            yield from _places_in(item)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if where_of(key):
                yield where_of(key)
            yield from _places_in(value)
