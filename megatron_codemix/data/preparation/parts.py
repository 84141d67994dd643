"""Which parts of a source (`prepare --shard I/N`) are finished, on record beside their blocks.

That all blocks are there does not say it: of a small source a part may have none. The folder's name
has the hash of what decides the blocks, so what lies in one folder is of one input.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_codemix.data.preparation.blocks import Part
from megatron_codemix.files import write_json

_NAME = re.compile(r"part-(\d+)-of-(\d+)\.json")


def part_of_source(part: Part, source: str) -> Part:
    """The part of this source's blocks: sources begin at different parts, so that many of one block
    each do not all fall to the first."""
    first = int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big")
    return Part((part.number + first) % part.count, part.count)


def record_part(work: Path, part: Part, inputs: dict[str, Any]) -> None:
    """Notes that all blocks of the part are in `work`. inputs: what they were made from."""
    number = part.number + 1
    record = {"part": number, "parts": part.count, "inputs": inputs}
    write_json(work / f"part-{number}-of-{part.count}.json", record)


@dataclass(frozen=True)
class MissingParts:
    """`found` and `missing` count from 1."""

    count: int | None
    """Parts in all; None where none is finished."""
    found: list[int]
    missing: list[int]


def missing_parts(work: Path) -> MissingParts | None:
    """None where every part is finished; of several divisions, the one that lacks the fewest."""
    divisions: dict[int, set[int]] = {}
    for path in work.iterdir():
        if match := _NAME.fullmatch(path.name):
            divisions.setdefault(int(match[2]), set()).add(int(match[1]))
    if not divisions:
        return MissingParts(None, [], [])
    count = min(divisions, key=lambda count: (count - len(divisions[count]), -count))
    missing = sorted({*range(1, count + 1)} - divisions[count])
    return MissingParts(count, sorted(divisions[count]), missing) if missing else None
