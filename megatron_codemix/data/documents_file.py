"""`<prefix>.documents.jsonl`, a line for each document: lines found without loading the file."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.errors import DataError

_PIECE = 1 << 20

Record = dict[str, Any]  # JSON values: id, source, path, origin, licence, bytes, tokens


def read_records(prefix: Path, documents: Sequence[int]) -> dict[int, Record]:
    """The lines of these documents, by number; {} where the shard has no such file.

    Reads the file up to the last of them, a piece at a time, counting line ends. Raises DataError
    where it has too few lines or one is damaged.
    """
    path = shard_file(prefix, ".documents.jsonl")
    if not path.is_file() or not documents:
        return {}
    wanted = iter(sorted(set(documents)))
    number = next(wanted)
    found: dict[int, Record] = {}
    with open(path, "rb") as handle:
        for first, count, start in _pieces(path):
            while number < first + count:
                handle.seek(start)
                for _ in range(number - first):
                    handle.readline()
                found[number] = _parse(path, number, handle.readline())
                following = next(wanted, None)
                if following is None:
                    return found
                number = following
    raise DataError(f"{path}: has no document {number}; prepare the shard again")


def count_records(prefix: Path) -> int | None:
    """Whole lines, by their ends; None where the shard has no such file."""
    path = shard_file(prefix, ".documents.jsonl")
    return sum(count for _, count, _ in _pieces(path)) if path.is_file() else None


class Listing(NamedTuple):
    """What the lines say of all documents together."""

    num_bytes: int
    licences: dict[str, int]
    """Documents under each; `unknown` where a line has none."""


def summarise_records(prefix: Path, lengths: Iterable[int]) -> Listing:
    """Of a shard whose documents have `lengths` tokens. Raises DataError that names the first line
    that is not of its document."""
    path = shard_file(prefix, ".documents.jsonl")
    num_bytes, licences = 0, Counter[str]()
    with open(path, "rb") as handle:
        for number, (line, length) in enumerate(zip_longest(handle, lengths)):
            if line is None or length is None:
                fewer = "fewer" if line is None else "more"
                raise DataError(f"{path}: {fewer} lines than documents")
            record = _parse(path, number, line)
            tokens, size = record.get("tokens"), record.get("bytes")
            if tokens != length or not isinstance(size, int):
                raise DataError(
                    f"{path}:{number + 1}: {tokens} tokens in {size} bytes, the shard's document "
                    f"has {length} tokens"
                )
            num_bytes += size
            licences[str(record.get("licence") or "unknown")] += 1
    return Listing(num_bytes, dict(sorted(licences.items())))


def find_document(prefix: Path, identifier: str) -> int | None:
    """Number of the document with this id; None if there is none.

    Reads the file once, looking for the id's text, and parses only lines that hold it.
    """
    path = shard_file(prefix, ".documents.jsonl")
    if not path.is_file():
        return None
    texts = {json.dumps(identifier, ensure_ascii=is_ascii).encode() for is_ascii in (True, False)}
    with open(path, "rb") as handle:
        for number, line in enumerate(handle):
            is_near = any(text in line for text in texts)
            if is_near and _parse(path, number, line).get("id") == identifier:
                return number
    return None


def _pieces(path: Path) -> Iterator[tuple[int, int, int]]:
    """(number of the first line that starts in it, lines that end in it, where that line starts) of
    consecutive pieces."""
    with open(path, "rb") as handle:
        lines = start = place = 0
        while piece := handle.read(_PIECE):
            count = piece.count(b"\n")
            yield lines, count, start
            place += len(piece)
            if count:
                lines += count
                start = place - len(piece) + piece.rindex(b"\n") + 1


def _parse(path: Path, number: int, line: bytes) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: line {number + 1} is damaged ({error})") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}: line {number + 1} is not an object; prepare the shard again")
    return record
