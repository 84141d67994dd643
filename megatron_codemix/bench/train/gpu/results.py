"""The file that finished rows are kept in, so that a second run makes only what is missing."""

from pathlib import Path
from typing import Any

from megatron_codemix.files import append_jsonl, read_jsonl, rewrite_jsonl

_WORDS = {
    "card": "card",
    "driver": "driver",
    "capability": "card",
    "memory_bytes": "card",
    "torch": "torch",
    "built_with": "torch",
    "megatron_core": "megatron-core",
    "engine": "Transformer Engine",
    "engine_problem": "Transformer Engine",
    "sources": "sources",
    "steps": "number of steps",
    "warm_up_seconds": "warm-up",
    "has_peer": "peer",
}
_INFORMATION = {"commit"}
"""What does not decide: `sources` tells of files, whichever commit they are of."""


class Results:
    """Rows of the file that were measured with the same card, versions, sources and steps; those of
    others stay in it and do not count."""

    def __init__(self, path: Path, measured_with: dict[str, Any]) -> None:  # Any: JSON values
        """Makes the file and its folder. measured_with: what rows must have been measured with; as
        of `Machine`, and the settings.

        Raises RunError with file and line where something else stands in it, and OSError where
        nothing can be written to it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.measured_with = path, measured_with
        self.rows: dict[str, dict[str, Any]] = {}
        """By name."""
        self.others: dict[str, set[str]] = {}
        """Names of rows of others that are not there by now -> what differs, in words."""
        lines = read_jsonl(path, _problem)
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            rewrite_jsonl(path, lines)  # a kill has cut the last line, which another would follow
        with open(path, "a", encoding="utf-8"):
            pass  # what cannot be written to is known before anything is measured
        for line in lines:
            self._take(line)

    def add(self, row: dict[str, Any]) -> None:  # Any: JSON values
        """Writes it at once."""
        append_jsonl(self.path, {"measured_with": self.measured_with, "row": row})
        self._take({"measured_with": self.measured_with, "row": row})

    def word(self) -> str | None:
        """What to tell of rows that do not count; None where there are none."""
        if not self.others:
            return None
        differs = sorted(set().union(*self.others.values()))
        one = len(self.others) == 1
        return (
            f"{self.path}: {len(self.others)} {'row is' if one else 'rows are'} of another "
            f"{', '.join(differs)} and {'does' if one else 'do'} not count; what is asked for is "
            "measured again"
        )

    def _take(self, line: dict[str, Any]) -> None:
        name, other = line["row"]["name"], line["measured_with"]
        differs = {
            _WORDS.get(key, key)
            for key in {*other, *self.measured_with} - _INFORMATION
            if other.get(key) != self.measured_with.get(key)
        }
        if not differs:
            self.rows[name] = line["row"]
            self.others.pop(name, None)
        elif name not in self.rows:
            self.others[name] = differs


def _problem(line: dict[str, Any]) -> str | None:
    row, other = line.get("row"), line.get("measured_with")
    if not isinstance(row, dict) or not isinstance(other, dict):
        return "no row with what it was measured with"
    return None if isinstance(row.get("name"), str) else "a row without a name"
