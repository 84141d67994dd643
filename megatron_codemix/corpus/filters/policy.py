"""Policies: which rules a source goes through, in which order, with which parameters.

A policy is a YAML file (those of the package are in policies/):

    extends: code                        # one of the package, or a file beside this one
    rules:
      contains_0x: off                   # not this one
      lines: {max_longest: 2000}         # other parameters stay as they were
      gopher_repetition:                 # one more, behind the others, as it is by default
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from megatron_codemix.config.problems import readable, suggestion
from megatron_codemix.config.tree import (
    Tree,
    describe,
    merge,
    parse_override,
    read_yaml,
    set_dotted,
    where_of,
)
from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.filters.registry import RULES
from megatron_codemix.corpus.filters.rule import Changed, Drop, Rule
from megatron_codemix.errors import DataError

_KEYS = ("extends", "rules")
_OFF = ("off", "no", "false")
_ON = (None, "on", "yes", "true")
_OF_SOURCES = {
    "adjacent": "adjacent", "code": "code", "code_adjacent": "adjacent", "commits": "adjacent",
    "instructions": "none", "markup": "markup", "notebooks": "adjacent", "prose": "prose",
    "stackexchange": "adjacent", "synthetic": "none", "text": "prose", "web_code": "code",
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a policy makes of a document that it keeps. counts: how often what was done to it."""

    document: Document
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Policy:
    """Rules in their order: the first that drops a document ends it."""

    name: str
    rules: tuple[Rule, ...]

    def apply(self, document: Document) -> Outcome | Drop:
        counts: dict[str, int] = {}
        for rule in self.rules:
            verdict = rule(document)
            if isinstance(verdict, Drop):
                return verdict
            if isinstance(verdict, Changed):
                document = verdict.document
                for what, count in verdict.counts.items():
                    counts[what] = counts.get(what, 0) + count
        return Outcome(document, counts)

    def to_json(self) -> dict[str, JsonValue]:
        """The name, and all parameters of all rules with what they depend on, in their order: what
        decides the verdicts. Raises UnavailableError."""
        rules = [
            {"rule": rule.name} | rule.model_dump(mode="json") | rule.depends_on()
            for rule in self.rules
        ]
        return {"policy": self.name, "rules": rules}


def policy_names() -> list[str]:
    """Those of the package."""
    folder = files(__package__) / "policies"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir())


def default_policy(source: str) -> str | None:
    """The policy for sources of this name; None where the name does not tell."""
    return _OF_SOURCES.get(source)


def load_policy(name: str, overrides: Sequence[str] = ()) -> Policy:
    """The policy of this name, or in the file at this path, with changes such as
    `lines.max_longest=2000` or `contains_0x=off`.

    Raises DataError with all problems: names, types, files.
    """
    problems: list[str] = []
    tree = _load(name, Path(), (), problems)
    for override in overrides:
        parsed = parse_override(override, problems)
        if parsed is not None:
            tree = set_dotted(tree, f"rules.{parsed[0]}", parsed[1], override)
    rules = [
        rule
        for key, value in _section(tree, name, problems).items()
        if (rule := _rule(key, value, name, problems)) is not None
    ]
    if problems:
        raise DataError(*problems)
    return Policy(Path(name).stem, tuple(rules))


def _load(name: str, folder: Path, chain: tuple[Path, ...], problems: list[str]) -> Tree:
    path = _find(name, folder)
    if path is None:
        extending = f"{chain[-1]}: extends: " if chain else ""
        problems.append(
            f"{extending}policy {name!r}: no such file, and none of {', '.join(policy_names())}"
            f"{suggestion(name, policy_names())}"
        )
        return {}
    if path in chain:
        problems.append(f"{path}: extends itself")
        return {}
    tree = read_yaml(path, problems)
    problems += [
        f"{where_of(key) or path}: unknown key {key!r}{suggestion(key, _KEYS)}"
        for key in tree
        if key not in _KEYS
    ]
    base = tree.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        problems.append(f"{path}: extends: expected one policy, got {describe(base)}")
        return tree
    return merge(_load(base, path.parent, (*chain, path), problems), tree)


def _find(name: str, folder: Path) -> Path | None:
    if name in policy_names():
        return Path(str(files(__package__) / "policies" / f"{name}.yaml"))
    path = folder / name
    return path if path.is_file() else None


def _section(tree: Tree, name: str, problems: list[str]) -> Tree:
    rules = tree.get("rules") or {}
    if isinstance(rules, dict):
        return rules
    problems.append(f"{name}: rules: expected lines of 'rule: parameters', got {describe(rules)}")
    return {}


def _rule(key: str, value: Any, policy: str, problems: list[str]) -> Rule | None:  # Any: of a Tree
    where = where_of(key) or policy
    if key not in RULES:
        problems.append(
            f"{where}: no rule {key!r}{suggestion(key, list(RULES))}; there are "
            f"{', '.join(sorted(RULES))}"
        )
        return None
    if value in _OFF:
        return None
    parameters: Tree = {} if value in _ON else value
    if not isinstance(parameters, dict):
        problems.append(
            f"{where}: {key}: expected parameters, 'on' or 'off', got {describe(value)}"
        )
        return None
    try:
        return RULES[key].model_validate(parameters)
    except ValidationError as error:
        found = readable(error.errors(), parameters, RULES[key], where)
        problems += [line if key in line else f"{line} (rule {key})" for line in found]
        return None
