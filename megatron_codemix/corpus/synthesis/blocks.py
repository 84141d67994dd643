"""Blocks of candidates: each is a function of the seed and its number, whoever makes it."""

import base64
import functools
import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import zstandard

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.synthesis.families.registry import FAMILIES
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn
from megatron_codemix.corpus.synthesis.problem import Family, Problem
from megatron_codemix.corpus.synthesis.record import Kept, kept, near_duplicate_keys
from megatron_codemix.corpus.synthesis.verification.batch import Rejected, Verifier
from megatron_codemix.corpus.writer import encoded
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, hash_json

log = logging.getLogger(__name__)

_DRAWS = 50
"""Draws of one candidate until one leads somewhere; none of them is the next block's business."""


@dataclass(frozen=True)
class Order:
    """What is asked for; with the code of this package it decides every byte."""

    seed: int
    families: tuple[str, ...]
    block_candidates: int = 500

    def identity(self) -> str:
        """Names finished blocks: those of another order, or of other code, are not taken."""
        parts = [self.seed, list(self.families), self.block_candidates, code_hash()]
        return hash_json(parts)[:16]


@functools.cache
def code_hash() -> str:
    """Of the modules of this package: a generator that was changed makes other blocks."""
    folder = Path(__file__).parent
    hashed = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        hashed.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()


@dataclass(frozen=True)
class Block:
    kept: tuple[Kept, ...]
    rejected: dict[str, int]
    """By reason, the family in front."""


def chosen_families(names: Sequence[str]) -> tuple[Family, ...]:
    """Those of the names, in the order of the registry; all where none is named. DataError: no such
    family."""
    known = {one.name: one for one in FAMILIES}
    if unknown := [one for one in names if one not in known]:
        raise DataError(
            f"no family of problems is called {', '.join(map(repr, unknown))}; there are "
            f"{', '.join(known)}"
        )
    return tuple(one for one in FAMILIES if not names or one.name in names)


def make_block(order: Order, number: int, verifier: Verifier) -> Block:
    """Draws the candidates of a block, verifies them, and writes those that are left as
    documents."""
    rejected: Counter[str] = Counter()
    seen: set[bytes] = set()
    waiting: list[tuple[Problem, str, str]] = []
    families = chosen_families(order.families)
    for index in range(order.block_candidates):
        family = families[index % len(families)]
        seed = f"{order.seed}/{number}/{index}"
        problem = _draw(family, Random(seed))
        if problem is None:
            rejected[f"{family.name}: nothing drawn"] += 1
            continue
        statement = problem.statement(Random(f"{seed}/statement"))
        keys = near_duplicate_keys(statement, problem.solutions[0].source)
        if seen & set(keys):
            rejected[f"{family.name}: near-duplicate"] += 1
            continue
        seen |= set(keys)
        waiting.append((problem, statement, seed))
    outcomes = verifier.verify([(problem, seed) for problem, _, seed in waiting])
    written: list[Kept] = []
    for (problem, statement, seed), outcome in zip(waiting, outcomes, strict=True):
        if isinstance(outcome, Rejected):
            rejected[f"{problem.family}: {outcome.reason}"] += 1
            if outcome.reason in ("solution", "property"):  # never meant to be: say which
                log.warning("%s, candidate %s: %s", problem.family, seed, outcome.detail)
        else:
            written.append(kept(outcome, statement, Random(f"{seed}/document")))
    problems = verifier.problems_with([one.document.text for one in written])
    done: list[Kept] = []
    for one, wrong in zip(written, problems, strict=True):
        if wrong is None:
            done.append(one)
        else:
            rejected[f"{one.document.metadata['family']}: document"] += 1
            log.warning("a document of %s was dropped: %s", one.document.path, wrong)
    return Block(tuple(done), dict(sorted(rejected.items())))


def _draw(family: Family, rng: Random) -> Problem | None:
    for _ in range(_DRAWS):
        try:
            problem = family.draw(rng)
        except NothingDrawn:
            continue
        if problem is not None:
            return problem
    return None


@dataclass(frozen=True)
class BlockHead:
    """What a finished block says of itself: `keys` of each document in it, in order."""

    keys: tuple[tuple[bytes, ...], ...]
    rejected: dict[str, int]


def write_block(path: Path, block: Block) -> None:
    """A JSON line that is the head, then a line for each document; whole or absent."""
    keys = [[base64.b16encode(own).decode() for own in one.keys] for one in block.kept]
    lines = [encoded({"rejected": block.rejected, "keys": keys})]
    lines += [encoded(one.document.to_record()) for one in block.kept]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(zstandard.ZstdCompressor(level=3).compress(b"".join(lines)))


def read_head(path: Path) -> BlockHead:
    head = json.loads(next(_lines(path)))
    keys = tuple(tuple(base64.b16decode(own) for own in one) for one in head["keys"])
    return BlockHead(keys, head["rejected"])


def read_documents(path: Path) -> Iterator[Document]:
    lines = _lines(path)
    next(lines)
    for line in lines:
        yield Document(**json.loads(line))


def _lines(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        yield from io.BufferedReader(stream)
