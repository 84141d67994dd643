"""A corpus without its duplicates, as a stage: each part without what the search has found."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.duplicates.bands import bands_for
from megatron_codemix.corpus.duplicates.fingerprints import NGRAM
from megatron_codemix.corpus.duplicates.jobs import SEED, Advance
from megatron_codemix.corpus.duplicates.report import (
    EXACT,
    EXAMPLE_CHARACTERS,
    Gone,
    Shown,
    Summary,
    gone_of_part,
    report,
    summarise,
)
from megatron_codemix.corpus.duplicates.search import (
    Found,
    RunTasks,
    SearchedPart,
    SearchOptions,
    find_duplicates,
)
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.parts import Part
from megatron_codemix.corpus.stages.stage import Stage, read_part
from megatron_codemix.corpus.store import PARTS_FOLDER
from megatron_codemix.corpus.writer import utf8_bytes
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_json, read_json, write_json

REPORT_FILE = "duplicates.json"
_VERSION = 2  # raise when the same options would give other bytes
_TOLD_BYTES = 1 << 20
_LEFTOVERS = ".duplicates-"


class DedupStage(Stage):
    """To be used after `search`. A part's bytes depend on all parts, so a hash of all is among the
    options."""

    name = "dedup"

    def __init__(self, parts: Sequence[Part], options: SearchOptions, out: Path) -> None:
        """parts: of the whole corpus. Raises DataError: a source to keep first that is not there,
        a similarity without bands."""
        self._parts = list(parts)
        self._sources = [part.source for part in parts]
        unknown = sorted(set(options.keep_first) - set(self._sources))
        if unknown:
            raise DataError(
                f"no source {', '.join(unknown)} to keep first; there are "
                f"{', '.join(sorted(set(self._sources)))}"
            )
        self._search_options = options
        self._options = self._all_options()
        self._out = out
        self._found: Found | None = None
        self._summary: Summary | None = None

    def _all_options(self) -> dict[str, JsonValue]:
        identities = [[part.source, part.number, part.identity()] for part in self._parts]
        options = asdict(self._search_options) | {"keep_first": self._search_options.keep_first}
        options |= {"version": _VERSION, "corpus": hash_json(identities)}
        if self._search_options.jaccard is not None:
            bands = bands_for(self._search_options.jaccard)
            options |= {"ngram": NGRAM, "seed": SEED, **asdict(bands)}
        return options

    def options(self) -> dict[str, JsonValue]:
        return self._options

    @property
    def work(self) -> Path:
        """What the search leaves, until `finish`."""
        return self._out / PARTS_FOLDER / f"{_LEFTOVERS}{hash_json(self._options)[:16]}"

    def search(self, run_tasks: RunTasks) -> None:
        """Goes on where it was stopped."""
        parts = [
            SearchedPart(number, part.source, partial(_read, part))
            for number, part in enumerate(self._parts)
        ]
        self.work.mkdir(parents=True, exist_ok=True)
        self._found = find_duplicates(parts, self._search_options, self.work, run_tasks)
        self._summary = summarise(self._found, self._sources)

    def documents(self, part: Part, dropped: Dropped) -> Iterator[Document]:
        assert self._found is not None, "search comes first"
        assert self._summary is not None
        number = self._parts.index(part)
        wanted = self._summary.texts_wanted(number)
        shown: dict[str, Shown] = {}
        all_gone = gone_of_part(self._found, number)
        gone = next(all_gone, None)
        for position, document in enumerate(read_part(part, dropped)):
            if position in wanted:
                shown[str(position)] = _shown(document)
            if gone is None or gone.document != position:
                yield document
                continue
            dropped.drop(document, gone.kind, _because(gone, self._found, self._sources))
            gone = next(all_gone, None)
        write_json(self._shown_path(number), shown)

    def _shown_of_part(self, number: int) -> Mapping[str, Shown]:
        """By position, as far as examples show them."""
        try:
            found = read_json(self._shown_path(number))
            return {position: Shown(*shown) for position, shown in found.items()}
        except FileNotFoundError:  # the part was made after an earlier search, which is removed
            assert self._summary is not None
            wanted = self._summary.texts_wanted(number)
            documents = read_part(self._parts[number], Dropped(is_announced=False))
            read = enumerate(islice(documents, max(wanted, default=-1) + 1))
            return {str(position): _shown(one) for position, one in read if position in wanted}

    def _shown_path(self, number: int) -> Path:
        return self.work / "examples" / f"{number:06d}.json"

    def finish(self) -> None:
        """Writes the report once all parts are made, and removes what the search has left."""
        if self._summary is None or self._found is None:
            return
        texts = {
            (number, int(document)): shown
            for number in range(len(self._parts))
            for document, shown in self._shown_of_part(number).items()
        }
        write_json(self._out / REPORT_FILE, report(self._summary, self._sources, texts))
        # First the name: half of what the search has left is worse than nothing.
        os.replace(self.work, self.work.with_name(f"{_LEFTOVERS}done"))
        self.remove_leftovers()

    def remove_leftovers(self) -> None:
        """Removes what searches with other files or options have left, and one that is done."""
        for folder in self.work.parent.glob(f"{_LEFTOVERS}*"):
            if folder != self.work:
                shutil.rmtree(folder)


def _shown(document: Document) -> Shown:
    return Shown(document.id, document.text[:EXAMPLE_CHARACTERS])


def _because(gone: Gone, found: Found, sources: Sequence[str]) -> str:
    """`of code document a.py, estimated similarity 0.83`."""
    name = found.name_of(gone.kept_part, gone.kept_document)
    kept = f"of {sources[gone.kept_part]} document {name}"
    if gone.kind == EXACT and gone.similarity == 1:
        return kept
    equal = "its equal is a near-duplicate " if gone.kind == EXACT else ""
    return f"{equal}{kept}, estimated similarity {gone.similarity:.2f}"


def _read(part: Part, advance: Advance) -> Iterator[Document]:
    """`advance` is told of bytes of text."""
    part.require_as_recorded()  # what is found is kept for the files on record
    told = done = 0
    for document in read_part(part, Dropped(is_announced=False)):
        yield document
        done += utf8_bytes(document.text)
        if done - told >= _TOLD_BYTES:
            advance(done - told)
            told = done
    advance(done - told)
