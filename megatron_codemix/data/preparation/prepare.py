"""A corpus folder to token shards: `<out>/<source>.train` and `<out>/<source>.validation`.

The split is by origin, the same for every source; documents stand in the order of a keyed hash of
their text. A rerun skips finished shards and goes on from the last tokenised block; it gives the
bytes that an undisturbed run gives.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.instructions.template import ChatTemplate
from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.corpus.split import Split
from megatron_codemix.data.preparation.blocks import WHOLE, BlockJob, Part
from megatron_codemix.data.preparation.corpus_blocks import CorpusEncoder
from megatron_codemix.data.preparation.first_look import require_documents
from megatron_codemix.data.preparation.lock import has_locks, is_alone, preparing
from megatron_codemix.data.preparation.parts import part_of_source, record_part
from megatron_codemix.data.preparation.plan import (
    BLOCK_BYTES,
    VALIDATION_FRACTION,
    Advance,
    Preparation,
    plan_preparation,
)
from megatron_codemix.data.preparation.sorted_shards import (
    PARTIAL,
    SourceRecord,
    forget,
    works_of,
    write_sorted_shards,
)
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.data.tokenizer_training import held_out_in_training
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_json, require_free_bytes
from megatron_codemix.workers import run_tasks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedCorpus:
    """Shards written or found complete. `shards[source][split]` is the manifest."""

    folder: Path
    shards: dict[str, dict[Split, Manifest]]
    finished_before: list[str]
    """Sources whose shards were complete already."""
    waiting: list[str]
    """Sources of which one part is prepared; `codemix data merge` makes the shards of all."""
    skipped: dict[str, int]
    seconds: float


def prepare_corpus(
    corpus: Path,
    tokenizer: Path,
    out: Path,
    *,
    sources: Sequence[str] | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
    text_field: str = "text",
    origin_field: str = "origin",
    chat_template: str = "auto",
    block_bytes: int = BLOCK_BYTES,
    num_workers: int = 1,
    part: Part = WHOLE,
    advance: Advance | None = None,
) -> PreparedCorpus:
    """Writes the shards of every source of `corpus` (or of `sources`).

    Of a `part` of several it leaves tokenised blocks in `out`, for `merge_parts`. One worker is
    this process, on all cores; several are processes of one thread. `advance` is told of UTF-8
    bytes done. Raises DataError (an unknown or empty source, a split
    without documents) and UnavailableError (too little disk).
    """
    start = time.monotonic()
    preparation = Preparation(
        tokenizer=Tokenizer.load(tokenizer),
        out=out,
        validation_fraction=validation_fraction,
        text_field=text_field,
        origin_field=origin_field,
        chat_template=chat_template,
        block_bytes=block_bytes,
        num_workers=num_workers,
        part=part,
        advance=advance or _ignore,
    )
    plan = plan_preparation(corpus, preparation, sources)
    require_free_bytes(out, plan.disk_bytes, "writing the token shards")
    warn_of_seen_text(preparation)
    for name in plan.finished:
        log.info("%s: shards are complete, skipped", name)
    shards = dict(plan.finished)
    skipped: Counter[str] = Counter()
    require_documents(
        {name: plan.files[name] for name in plan.todo},
        preparation.splits,
        validation_fraction=validation_fraction,
        text_field=text_field,
        origin_field=origin_field,
        block_bytes=block_bytes,
    )
    # A folder of finished shards may be read-only.
    if plan.todo or has_locks(out) or any(works_of(out, name) for name in plan.finished):
        with preparing(out, part):
            for name in plan.finished:
                # Of a run that was killed at its very end.
                _forget_unused(preparation, works_of(out, name))
            for name, inputs in plan.todo.items():
                template = plan.templates.get(name)
                work = _encode_source(preparation, name, plan.files[name], inputs, template)
                if part == WHOLE:
                    shards[name], left_out = write_sorted_shards(work, out)
                    skipped += left_out
    return PreparedCorpus(
        folder=out,
        shards=dict(sorted(shards.items())),
        finished_before=sorted(plan.finished),
        waiting=sorted(plan.todo) if part != WHOLE else [],
        skipped=dict(skipped),
        seconds=time.monotonic() - start,
    )


def warn_of_seen_text(preparation: Preparation) -> None:
    """Warns where the tokenizer was trained with less text held out than is asked for now."""
    tokenizer = preparation.tokenizer
    held_out = held_out_in_training(tokenizer)
    if held_out is not None and held_out < preparation.validation_fraction:
        log.warning(
            "%s: trained with validation fraction %g, the shards are made with %g: it may have "
            "seen held-out text; train the tokenizer with the larger fraction, or use the smaller "
            "one here",
            tokenizer.path,
            held_out,
            preparation.validation_fraction,
        )


def _ignore(amount: int) -> None:
    return None


def _forget_unused(preparation: Preparation, works: Sequence[Path]) -> None:
    """Unless another part may be at work there."""
    if preparation.part == WHOLE or (works and is_alone(preparation.out)):
        forget(preparation.out, works)


def _encode_source(
    preparation: Preparation,
    source: str,
    files: tuple[InputFile, ...],
    inputs: dict[str, Any],
    template: ChatTemplate | None,
) -> Path:
    """Tokenises what is not there yet; returns the folder of the blocks."""
    tokenizer = preparation.tokenizer
    work = (
        preparation.out / PARTIAL / f"{source}-{hash_json([inputs, preparation.block_bytes])[:16]}"
    )
    stale = [other for other in works_of(preparation.out, source) if other != work]
    _forget_unused(preparation, stale)  # of other inputs
    SourceRecord(
        source=source,
        num_files=len(files),
        splits=preparation.splits,
        tokenizer_hash=tokenizer.hash,
        vocabulary_size=tokenizer.vocabulary_size,
        end_of_document_id=tokenizer.end_of_document_id,
        inputs=inputs,
        chat_template=template,
    ).save(work)
    encoder = CorpusEncoder(
        tokenizer,
        source,
        preparation.validation_fraction,
        preparation.text_field,
        preparation.origin_field,
        template,
    )
    job = BlockJob(files, encoder, work, preparation.block_bytes)
    part = preparation.part
    try:
        tasks = job.tasks(part_of_source(part, source), preparation.num_workers)
        run_tasks(job, tasks, preparation.num_workers, preparation.advance)
    except DataError:
        if part == WHOLE:  # right input has another hash, so no rerun would use the blocks
            forget(preparation.out, [work])
        else:
            text = "%s: kept, other parts may be at work there; goes once the input is another"
            log.warning(text, work)
        raise
    if part != WHOLE:
        record_part(work, part, inputs)
    return work
