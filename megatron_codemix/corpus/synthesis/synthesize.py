"""Makes a corpus of verified problems: blocks by workers, near-duplicates dropped in their order.

The bytes are a function of seed, families, count and this package's code. Finished blocks stay on
disk until all is done: a kill costs the blocks that were being made.
"""

import hashlib
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.output_place import require_folder_place
from megatron_codemix.corpus.readers import Skipped
from megatron_codemix.corpus.store import (
    CORPUS_FILE,
    PARTS_FOLDER,
    CorpusRecord,
    CorpusSource,
    StageRecord,
    load_corpus,
)
from megatron_codemix.corpus.synthesis.blocks import (
    Order,
    chosen_families,
    make_block,
    read_documents,
    read_head,
    write_block,
)
from megatron_codemix.corpus.synthesis.record import SOURCE
from megatron_codemix.corpus.synthesis.verification.batch import Verifier
from megatron_codemix.corpus.writer import SUFFIX, CorpusFile, encoded, write_documents
from megatron_codemix.errors import DataError
from megatron_codemix.locks import exclusive
from megatron_codemix.workers import run_tasks

STAGE = "synthesize"
PART_DOCUMENTS = 10_000
_USUAL_YIELD = 0.85
"""Of the candidates; how many blocks are made at first."""
_WAIT_SECONDS = 10.0
"""For workers of a killed run to end: they hold the lock until they do."""
_LEAST_YIELD = 0.02
"""A round of blocks that gives less says that there is no more to be had."""

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Synthesized:
    """`is_old`: it was complete already."""

    folder: Path
    count: int
    sha256: str
    """Of the uncompressed lines of all parts, in order."""
    families: dict[str, int]
    mutation_score: float
    """Mean over the problems."""
    difficulty: float
    """Mean over the problems."""
    candidates: int
    rejected: dict[str, int]
    seconds: float
    is_old: bool


def synthesize(
    out: Path,
    *,
    count: int,
    seed: int,
    families: Sequence[str] = (),
    workers: int = 1,
    advance: Advance = lambda done: None,
    block_candidates: int = Order.block_candidates,
    part_documents: int = PART_DOCUMENTS,
) -> Synthesized:
    """Writes `count` documents to `<out>/synthetic/part-NNNNN.jsonl.zst`, and corpus.json last.

    A complete corpus of the same request is left as it is. `advance` is told of candidates done.
    Raises DataError: a family that does not exist, a folder that holds something else, a count that
    these families do not reach; UnavailableError where nothing can be run in isolation.
    """
    started = time.monotonic()
    require_folder_place(out, "the synthetic corpus")
    if count < 1:
        raise DataError(f"{count} problems are wanted; ask for at least 1")
    order = Order(seed, tuple(one.name for one in chosen_families(families)), block_candidates)
    options = {"count": count, "identity": order.identity(), "seed": seed}
    options["families"] = list(order.families)
    if (complete := _complete(out, options, started)) is not None:
        return complete
    lock = out / PARTS_FOLDER / ".synthesize.lock"
    with exclusive(lock, "codemix corpus synthesize", wait_seconds=_WAIT_SECONDS):
        blocks = _Blocks(out / PARTS_FOLDER / f"blocks-{order.identity()}", order)
        selection = _select(blocks, count, workers, advance)
        result = _write(out, blocks, selection, part_documents, options, started)
        shutil.rmtree(out / PARTS_FOLDER)
    return result


class _Blocks:
    """The blocks of an order on disk, and how workers make them."""

    def __init__(self, folder: Path, order: Order) -> None:
        self.folder = folder
        self.order = order
        self._verifier: Verifier | None = None

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.zst"

    def load(self) -> None:
        """Nothing that workers could share: each starts a sandbox of its own."""

    def run(self, task: int, advance: Advance) -> None:
        if self._verifier is None:
            self._verifier = Verifier()
        write_block(self.path(task), make_block(self.order, task, self._verifier))
        advance(self.order.block_candidates)

    def close(self) -> None:
        if self._verifier is not None:
            self._verifier.close()
            self._verifier = None


@dataclass
class _Selection:
    """Which documents of which blocks are taken; what was left out and why."""

    taken: list[list[int]] = field(default_factory=list)
    """By block: numbers of its documents."""
    count: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


def _select(blocks: _Blocks, count: int, workers: int, advance: Advance) -> _Selection:
    """Makes blocks until they hold enough, and goes through their heads in order."""
    selection, seen = _Selection(), set[bytes]()
    size = blocks.order.block_candidates
    wanted = math.ceil(count / (size * _USUAL_YIELD))
    while True:
        start, before = len(selection.taken), selection.count
        todo = [n for n in range(start, start + wanted) if not blocks.path(n).exists()]
        try:
            run_tasks(blocks, todo, workers, advance)
        finally:
            blocks.close()
        for number in range(start, start + wanted):
            _take(blocks, number, selection, seen, count)
            if selection.count == count:
                return selection
        gained = (selection.count - before) / (wanted * size)
        if gained < _LEAST_YIELD:
            raise DataError(
                f"families {', '.join(blocks.order.families)}: {selection.count} distinct problems "
                f"were found, {count} are wanted, and new candidates are nearly all like earlier "
                "ones; ask for fewer, or for more families"
            )
        wanted = math.ceil((count - selection.count) / (size * gained))


def _take(
    blocks: _Blocks, number: int, selection: _Selection, seen: set[bytes], count: int
) -> None:
    head = read_head(blocks.path(number))
    taken: list[int] = []
    for place, keys in enumerate(head.keys):
        if selection.count == count:
            break
        if seen.isdisjoint(keys):
            taken.append(place)
            selection.count += 1
        else:
            selection.rejected["near-duplicate of another block"] += 1
        seen.update(keys)
    selection.rejected.update(head.rejected)
    selection.taken.append(taken)


@dataclass
class _Totals:
    """Summed while documents pass by."""

    content: Any = field(default_factory=hashlib.sha256)
    families: Counter[str] = field(default_factory=Counter)
    score: float = 0.0
    difficulty: float = 0.0

    def passing(self, documents: Iterator[Document]) -> Iterator[Document]:
        for document in documents:
            self.content.update(encoded(document.to_record()))
            self.families[document.metadata["family"]] += 1
            self.score += document.metadata["mutation"]["score"]
            self.difficulty += document.metadata["difficulty"]
            yield document


def _documents(blocks: _Blocks, selection: _Selection) -> Iterator[Document]:
    for number, taken in enumerate(selection.taken):
        wanted = set(taken)
        for place, document in enumerate(read_documents(blocks.path(number))):
            if place in wanted:
                yield document


def _write(
    out: Path,
    blocks: _Blocks,
    selection: _Selection,
    part_documents: int,
    options: dict[str, JsonValue],
    started: float,
) -> Synthesized:
    totals = _Totals()
    documents = totals.passing(_documents(blocks, selection))
    files: list[CorpusFile] = []
    licences: Counter[str] = Counter()
    (out / SOURCE).mkdir(exist_ok=True)
    for number in range(math.ceil(selection.count / part_documents)):
        name = f"{SOURCE}/part-{number:05d}{SUFFIX}"
        part = (one for _, one in zip(range(part_documents), documents, strict=False))
        file, by_licence = write_documents(out, name, part)
        files.append(file)
        licences.update(by_licence)
    result: dict[str, JsonValue] = {
        "sha256": totals.content.hexdigest(),
        "families": dict(sorted(totals.families.items())),
        "mutation_score": round(totals.score / selection.count, 4),
        "difficulty": round(totals.difficulty / selection.count, 4),
        "candidates": blocks.order.block_candidates * len(selection.taken),
    }
    skipped = Skipped(is_announced=False)
    for reason, number in sorted(selection.rejected.items()):
        skipped.counts[reason], skipped.names[reason] = number, []
    stage = StageRecord(
        STAGE,
        {**options, "result": result},
        num_read={SOURCE: result["candidates"]},
        dropped={SOURCE: skipped},
    )
    record = CorpusRecord({SOURCE: CorpusSource(tuple(files), dict(licences))}, (stage,))
    record.save(out)
    return _result(out, record, started, is_old=False)


def _complete(out: Path, options: dict[str, JsonValue], started: float) -> Synthesized | None:
    """The corpus that is there already; None where there is none. DataError: it is another one."""
    record = load_corpus(out)
    if record is None:
        if out.is_dir() and any(out.iterdir()) and not _is_unfinished(out):
            raise DataError(f"{out}: is not empty; name a new folder for the synthetic corpus")
        return None
    asked = {key: value for key, value in record.stages[-1].options.items() if key != "result"}
    if record.stages[-1].name != STAGE or asked != options:
        raise DataError(
            f"{out / CORPUS_FILE}: another corpus is there (or one of another version of the "
            "generator); name a new folder, or delete this one"
        )
    if not record.is_whole(out):
        raise DataError(f"{out}: the corpus is damaged; delete the folder and make it again")
    return _result(out, record, started, is_old=True)


def _is_unfinished(out: Path) -> bool:
    """Whether all that is there is what a killed run of this command left."""
    return (out / PARTS_FOLDER).is_dir() and {one.name for one in out.iterdir()} <= {
        PARTS_FOLDER,
        SOURCE,
    }


def _result(out: Path, record: CorpusRecord, started: float, *, is_old: bool) -> Synthesized:
    stage = record.stages[-1]
    return Synthesized(
        folder=out,
        count=stage.options["count"],
        rejected=stage.dropped[SOURCE].counts,
        seconds=time.monotonic() - started,
        is_old=is_old,
        **stage.options["result"],
    )
