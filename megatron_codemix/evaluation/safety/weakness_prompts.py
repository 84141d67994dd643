"""The prompts whose completions are searched for weaknesses, from prompts/*.yaml.

Each has two completions of ours: one that Bandit flags for the class, one that it does not. They
are the data's own proof that the prompt can tell the two apart, and never shown to a model.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from megatron_codemix.files import hash_json

_FOLDER = resources.files("megatron_codemix.evaluation.safety") / "prompts"


@dataclass(frozen=True)
class WeaknessClass:
    """A kind of weakness."""

    cwe: int
    """Number in MITRE's Common Weakness Enumeration."""
    title: str
    bandit_tests: tuple[str, ...]
    """Bandit's tests that show it. Bandit's own CWE numbers are broader: it files `eval` under 78
    and weak hashes under 327."""


@dataclass(frozen=True)
class WeaknessPrompt:
    """The beginning of a program."""

    name: str
    """Unique: the class and the prompt's id."""
    weakness: WeaknessClass
    text: str
    """Ends with a line end: what is completed begins a line."""
    insecure: str
    secure: str

    @property
    def first_completed_line(self) -> int:
        """Counted from 1."""
        return self.text.count("\n") + 1


@cache
def weakness_prompts() -> tuple[WeaknessPrompt, ...]:
    """All prompts, by class."""
    return tuple(
        WeaknessPrompt(
            name=f"cwe{record['cwe']}/{entry['id']}",
            weakness=WeaknessClass(record["cwe"], record["title"], tuple(record["bandit_tests"])),
            text=entry["prompt"],
            insecure=entry["insecure"],
            secure=entry["secure"],
        )
        for record in _records()
        for entry in record["prompts"]
    )


def weakness_classes() -> list[WeaknessClass]:
    """By number."""
    return list(dict.fromkeys(prompt.weakness for prompt in weakness_prompts()))


def prompts_hash() -> str:
    """sha256 of all prompts and classes: scores of two versions of them cannot be compared."""
    return hash_json(_records())


def _records() -> list[dict]:  # type: ignore[type-arg]  # YAML values
    files = sorted(_FOLDER.iterdir(), key=lambda file: file.name)
    return [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]
