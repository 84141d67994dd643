"""Makes a corpus of verified problems: blocks by workers, near-duplicates dropped in their order.

The bytes are a function of seed, families, count and this package's code. Finished blocks stay on
disk until all is done: a kill costs the blocks that were being made.
"""

import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.output_place import require_folder_place
from megatron_codemix.corpus.store import PARTS_FOLDER
from megatron_codemix.corpus.synthesis.blocks import (
    Order,
    chosen_families,
    make_block,
    read_documents,
    read_head,
    translated,
    write_block,
)
from megatron_codemix.corpus.synthesis.output import PART_DOCUMENTS, Output, Synthesized
from megatron_codemix.corpus.synthesis.record import SOURCE
from megatron_codemix.corpus.synthesis.translation.companions import LANGUAGE, Translator
from megatron_codemix.corpus.synthesis.translation.companions import SOURCE as TRANSLATED_SOURCE
from megatron_codemix.corpus.synthesis.verification.batch import Verifier
from megatron_codemix.errors import DataError
from megatron_codemix.locks import exclusive
from megatron_codemix.workers import run_tasks

LANGUAGES = {LANGUAGE: TRANSLATED_SOURCE}
"""What problems can be translated into, and the sources that such documents are of."""
_USUAL_YIELD = 0.85
"""Of the candidates; how many blocks are made at first."""
_WAIT_SECONDS = 10.0
"""For workers of a killed run to end: they hold the lock until they do."""
NOT_NEEDED = "not needed, the count was reached"
"""Why problems at the end of the last block are left out."""
_LEAST_YIELD = 0.02
"""A round of blocks that gives less says that there is no more to be had."""

Advance = Callable[[int], None]


def synthesize(
    out: Path,
    *,
    count: int,
    seed: int,
    families: Sequence[str] = (),
    languages: Sequence[str] = (),
    workers: int = 1,
    advance: Advance = lambda done: None,
    block_candidates: int = Order.block_candidates,
    part_documents: int = PART_DOCUMENTS,
) -> Synthesized:
    """Writes `count` documents to `<out>/synthetic/part-NNNNN.jsonl.zst`, and corpus.json last. Of
    `languages` (`javascript`) each gets a source of its own with those that can be translated.

    A complete corpus of the same request is left as it is. `advance` is told of candidates done.
    Raises DataError: a family that does not exist, a folder that holds something else, a count that
    these families do not reach; UnavailableError where nothing can be run in isolation.
    """
    order = _order(count, seed, families, languages, block_candidates)
    output = _output(out, count, order, part_documents)
    if (complete := output.complete()) is not None:
        return complete
    lock = out / PARTS_FOLDER / ".synthesize.lock"
    with exclusive(lock, "codemix corpus synthesize", wait_seconds=_WAIT_SECONDS):
        blocks = _Blocks(out / PARTS_FOLDER / f"blocks-{order.identity()}", order)
        selection = _select(blocks, count, workers, advance)
        result = output.write(
            {source: _documents(blocks, selection, source) for source in output.sources},
            candidates=block_candidates * len(selection.taken),
            rejected=selection.rejected,
            untranslated={TRANSLATED_SOURCE: selection.untranslated} if languages else {},
        )
        shutil.rmtree(out / PARTS_FOLDER)
    return result


def plan_synthesis(
    out: Path, *, count: int, seed: int, families: Sequence[str], languages: Sequence[str]
) -> bool:
    """Whether what `synthesize` would make is there already. Writes nothing; raises DataError as it
    does."""
    order = _order(count, seed, families, languages, Order.block_candidates)
    return _output(out, count, order, PART_DOCUMENTS).complete() is not None


def _order(
    count: int, seed: int, families: Sequence[str], languages: Sequence[str], block_candidates: int
) -> Order:
    if count < 1:
        raise DataError(f"{count} problems are wanted; ask for at least 1")
    if unknown := [one for one in languages if one not in LANGUAGES]:
        raise DataError(
            f"no translation into {', '.join(map(repr, unknown))}; there is {', '.join(LANGUAGES)}"
        )
    names = tuple(one.name for one in chosen_families(families))
    return Order(seed, names, block_candidates, tuple(languages))


def _output(out: Path, count: int, order: Order, part_documents: int) -> Output:
    require_folder_place(out, "the synthetic corpus")
    options: dict[str, JsonValue] = {
        "count": count,
        "identity": order.identity(),
        "seed": order.seed,
        "families": list(order.families),
        "languages": list(order.languages),
    }
    sources = (SOURCE, *(LANGUAGES[one] for one in order.languages))
    return Output(out, sources, options, part_documents)


class _Blocks:
    """The blocks of an order on disk, and how workers make them."""

    def __init__(self, folder: Path, order: Order) -> None:
        self.folder = folder
        self.order = order
        self._verifier: Verifier | None = None
        self._translator: Translator | None = None

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.zst"

    def load(self) -> None:
        """Nothing that workers could share: each starts a sandbox of its own."""

    def run(self, task: int, advance: Advance) -> None:
        if self._verifier is None:
            self._verifier = Verifier()
            self._translator = Translator() if self.order.languages else None
        block = make_block(self.order, task, self._verifier)
        if self._translator is not None:
            block = translated(block, self._translator)
        write_block(self.path(task), block)
        advance(self.order.block_candidates)

    def close(self) -> None:
        if self._verifier is not None:
            self._verifier.close()
            self._verifier = None
        if self._translator is not None:
            self._translator.close()
            self._translator = None


@dataclass
class _Selection:
    """Which documents of which blocks are taken; what was left out and why."""

    taken: list[list[int]] = field(default_factory=list)
    """By block: numbers of its documents."""
    count: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    untranslated: Counter[str] = field(default_factory=Counter)
    """Of those taken: why some have no translation."""


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
            selection.rejected[NOT_NEEDED] += len(head.keys) - place
            break
        if seen.isdisjoint(keys):
            taken.append(place)
            selection.count += 1
        else:
            selection.rejected["near-duplicate of another block"] += 1
        seen.update(keys)
    selection.rejected.update(head.rejected)
    reasons = (head.untranslated[place] for place in taken if head.untranslated)
    selection.untranslated.update(reason for reason in reasons if reason is not None)
    selection.taken.append(taken)


def _documents(blocks: _Blocks, selection: _Selection, source: str) -> Iterator[Document]:
    """Of one source: the problems that were taken, or what they are in another language."""
    for number, taken in enumerate(selection.taken):
        wanted = set(taken)
        for place, documents in enumerate(read_documents(blocks.path(number))):
            if place in wanted:
                yield from (one for one in documents if one.source == source)
