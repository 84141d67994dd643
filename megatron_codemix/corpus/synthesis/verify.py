"""Verifies a synthetic corpus again from its files alone: every solution, every test, every
text."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.store import source_files
from megatron_codemix.corpus.synthesis.distinct import key, normalised_statement
from megatron_codemix.corpus.synthesis.record import SOURCE
from megatron_codemix.corpus.synthesis.verification.batch import (
    BATCH_PROBLEMS,
    cases_source,
    new_sandbox,
    run_batch,
)
from megatron_codemix.corpus.synthesis.verification.batch import Test as ProblemTest
from megatron_codemix.errors import DataError

_FIRST_FAILURES = 20
_NEEDED = ("name", "statement", "solutions", "tests", "mutation", "family")
Advance = Callable[[int], None]


@dataclass
class Verification:
    """What was found. `distinct_statements`: share of the statements that are left apart once they
    are normalised (`distinct.py`)."""

    documents: int = 0
    tests: int = 0
    failed: int = 0
    first_failures: list[str] = field(default_factory=list)
    families: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, int] = field(default_factory=dict)
    distinct_statements: float = 0.0
    mutation_score: float = 0.0
    seconds: float = 0.0


def verify_corpus(folder: Path, advance: Advance = lambda done: None) -> Verification:
    """Runs all solutions of source `synthetic` on all its tests, and each document's own text, in
    fresh sandboxes. `advance` is told of documents.

    Raises DataError: no such source, a record without what verification needs; UnavailableError
    where nothing can be run in isolation.
    """
    started = time.monotonic()
    found = Verification()
    statements: set[bytes] = set()
    documents = _documents(folder)
    with new_sandbox() as sandbox:
        while batch := list(islice(documents, BATCH_PROBLEMS)):
            verdicts = run_batch(sandbox, "documents", [_job(one) for one in batch])
            for document, verdict in zip(batch, verdicts, strict=True):
                _count(found, document, verdict["error"])
                statements.add(key(normalised_statement(document.metadata["statement"])))
            advance(len(batch))
    found.distinct_statements = len(statements) / found.documents if found.documents else 0.0
    found.mutation_score /= max(1, found.documents)
    found.seconds = time.monotonic() - started
    return found


def _documents(folder: Path) -> Iterator[Document]:
    files = source_files(folder).get(SOURCE)
    if files is None:
        raise DataError(
            f"{folder}: holds no source {SOURCE!r}; `codemix corpus synthesize --out {folder}` "
            "makes one"
        )
    for document in read_documents(files, SOURCE, Skipped()):
        if missing := [name for name in _NEEDED if name not in document.metadata]:
            raise DataError(
                f"{folder}: document {document.id} has no {', '.join(missing)} in its metadata; "
                "only what `codemix corpus synthesize` wrote can be verified"
            )
        yield document


def _job(document: Document) -> dict[str, Any]:
    tests = [ProblemTest(**one) for one in document.metadata["tests"]]
    return {
        "name": document.metadata["name"],
        "solutions": [one["source"] for one in document.metadata["solutions"]],
        "cases": cases_source(tests),
        "num_cases": len(tests),
        "text": document.text,
    }


def _count(found: Verification, document: Document, error: str | None) -> None:
    found.documents += 1
    found.tests += len(document.metadata["tests"])
    for counts, name in ((found.families, "family"), (found.shapes, "shape")):
        value = document.metadata[name]
        counts[value] = counts.get(value, 0) + 1
    found.mutation_score += document.metadata["mutation"]["score"]
    if error is not None:
        found.failed += 1
        if len(found.first_failures) < _FIRST_FAILURES:
            found.first_failures.append(f"{document.id}: {error}")
