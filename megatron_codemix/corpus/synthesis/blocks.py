"""Blocks of candidates: each is a function of the seed and its number, whoever makes it."""

import base64
import functools
import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import zstandard

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.synthesis.families.registry import FAMILIES
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn
from megatron_codemix.corpus.synthesis.problem import Family, Problem
from megatron_codemix.corpus.synthesis.record import Kept, kept, near_duplicate_keys
from megatron_codemix.corpus.synthesis.translation.companions import Translator
from megatron_codemix.corpus.synthesis.translation.javascript import Unlike
from megatron_codemix.corpus.synthesis.verification.batch import Rejected, Verified, Verifier
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
    block_candidates: int = 100
    languages: tuple[str, ...] = ()
    """That problems are translated into besides."""

    def identity(self) -> str:
        """Names finished blocks: those of another order, or of other code, are not taken."""
        names = [list(self.families), list(self.languages)]
        return hash_json([self.seed, names, self.block_candidates, code_hash()])[:16]


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
    problems: tuple[tuple[Verified, str], ...] = ()
    """Those that the documents are of, with their seeds; not written."""
    untranslated: tuple[str | None, ...] = ()
    """Where documents are translated: why each has no translation."""


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
    candidates = _candidates(order, number, rejected)
    outcomes = verifier.verify([(one.problem, one.seed) for one in candidates])
    written: list[tuple[Kept, tuple[Verified, str]]] = []
    for one, outcome in zip(candidates, outcomes, strict=True):
        if isinstance(outcome, Rejected):
            rejected[f"{one.problem.family}: {outcome.reason}"] += 1
            if outcome.reason in ("solution", "property"):  # never meant to be: say which
                log.warning("%s, candidate %s: %s", one.problem.family, one.seed, outcome.detail)
        else:
            document = kept(outcome, one.statement, Random(f"{one.seed}/document"))
            written.append((document, (outcome, one.seed)))
    right = _right(written, verifier, rejected)
    documents = tuple(document for document, _ in right)
    return Block(documents, dict(sorted(rejected.items())), tuple(seeded for _, seeded in right))


@dataclass(frozen=True)
class _Candidate:
    problem: Problem
    statement: str
    seed: str


def _candidates(order: Order, number: int, rejected: Counter[str]) -> list[_Candidate]:
    """Problems of a block, no two of them near-duplicates."""
    seen: set[bytes] = set()
    found = []
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
        found.append(_Candidate(problem, statement, seed))
    return found


def _right(
    written: list[tuple[Kept, tuple[Verified, str]]], verifier: Verifier, rejected: Counter[str]
) -> list[tuple[Kept, tuple[Verified, str]]]:
    """Those whose document runs as it stands; the others are counted."""
    wrongs = verifier.problems_with([document.document.text for document, _ in written])
    right = []
    for (one, seeded), wrong in zip(written, wrongs, strict=True):
        if wrong is None:
            right.append((one, seeded))
        else:
            rejected[f"{one.document.metadata['family']}: document"] += 1
            log.warning("a document of %s was dropped: %s", one.document.path, wrong)
    return right


def translated(block: Block, translator: Translator) -> Block:
    """With each problem's document in the other language too, where there is one."""
    pairs = zip(block.kept, block.problems, strict=True)
    given = [(verified, one.document, seed) for one, (verified, seed) in pairs]
    done: list[Kept] = []
    untranslated: list[str | None] = []
    for one, found in zip(block.kept, translator.companions(given), strict=True):
        if isinstance(found, Unlike):
            done.append(one)
            untranslated.append(f"translation: {found.reason}")
        else:
            done.append(replace(one, companions=(found,)))
            untranslated.append(None)
    return replace(block, kept=tuple(done), untranslated=tuple(untranslated))


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
    """What a finished block says of itself: `keys` of each document in it, in order, and where they
    are translated why each has no translation."""

    keys: tuple[tuple[bytes, ...], ...]
    rejected: dict[str, int]
    untranslated: tuple[str | None, ...]


def write_block(path: Path, block: Block) -> None:
    """A JSON line that is the head, then a line for each document; whole or absent."""
    keys = [[base64.b16encode(own).decode() for own in one.keys] for one in block.kept]
    head = {"rejected": block.rejected, "keys": keys, "untranslated": list(block.untranslated)}
    lines = [encoded(head)]
    lines += [
        encoded({"documents": [each.to_record() for each in (one.document, *one.companions)]})
        for one in block.kept
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(zstandard.ZstdCompressor(level=3).compress(b"".join(lines)))


def read_head(path: Path) -> BlockHead:
    head = json.loads(next(_lines(path)))
    keys = tuple(tuple(base64.b16decode(own) for own in one) for one in head["keys"])
    return BlockHead(keys, head["rejected"], tuple(head["untranslated"]))


def read_documents(path: Path) -> Iterator[list[Document]]:
    """Of each problem its document, and what that is in other languages."""
    lines = _lines(path)
    next(lines)
    for line in lines:
        yield [Document(**record) for record in json.loads(line)["documents"]]


def _lines(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        yield from io.BufferedReader(stream)
