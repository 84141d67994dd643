"""Verifies a synthetic corpus again from its files alone: every solution, every test, every
text."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, Self

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.store import source_files
from megatron_codemix.corpus.synthesis.distinct import key, normalised_statement
from megatron_codemix.corpus.synthesis.model_written.as_it_stands import document_problem
from megatron_codemix.corpus.synthesis.model_written.record import SOURCE as MODEL_SOURCE
from megatron_codemix.corpus.synthesis.model_written.trial import (
    LIMITS,
    NoAnswerError,
    agrees,
    run_solution,
)
from megatron_codemix.corpus.synthesis.record import SOURCE
from megatron_codemix.corpus.synthesis.translation.companions import SOURCE as TRANSLATED_SOURCE
from megatron_codemix.corpus.synthesis.translation.engine import Engine
from megatron_codemix.corpus.synthesis.translation.recheck import recheck_all
from megatron_codemix.corpus.synthesis.verification.batch import (
    BATCH_PROBLEMS,
    cases_source,
    new_sandbox,
    run_batch,
)
from megatron_codemix.corpus.synthesis.verification.batch import Test as ProblemTest
from megatron_codemix.errors import DataError
from megatron_codemix.sandbox.sandbox import Sandbox

_FIRST_FAILURES = 20
_NEEDED = {
    "name": str,
    "statement": str,
    "family": str,
    "shape": str,
    "solutions": list,
    "tests": list,
    "mutation": dict,
}
_OF_TRANSLATED = {"interface": dict}
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
    """Runs all solutions of the synthetic sources on all their tests, and each document's own text,
    in fresh sandboxes; what a model wrote in a process of its own. `advance` is told of documents.

    Raises DataError: no such source, a record without what verification needs; UnavailableError
    where nothing can be run in isolation.
    """
    started = time.monotonic()
    found = Verification()
    statements: set[tuple[str, bytes]] = set()
    for source in _sources(folder):
        documents = _documents(folder, source)
        with _CHECKERS[source]() as checker:
            while batch := list(islice(documents, BATCH_PROBLEMS)):
                for document, error in zip(batch, checker.errors(batch), strict=True):
                    _count(found, document, error)
                    words = normalised_statement(document.metadata["statement"])
                    statements.add((source, key(words)))
                advance(len(batch))
    found.distinct_statements = len(statements) / found.documents if found.documents else 0.0
    found.mutation_score /= max(1, found.documents)
    found.seconds = time.monotonic() - started
    return found


class _Checker(Protocol):
    """Verifies documents of one source: None for each, or what is wrong with it."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def errors(self, documents: Sequence[Document]) -> list[str | None]: ...


class _Drawn:
    """Problems of the grammar: many in one process."""

    def __enter__(self) -> Self:
        self._sandbox = new_sandbox()
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.close()

    def errors(self, documents: Sequence[Document]) -> list[str | None]:
        verdicts = run_batch(self._sandbox, "documents", [_job(one) for one in documents])
        return [one["error"] for one in verdicts]


class _Translated:
    """Documents in JavaScript."""

    def __enter__(self) -> Self:
        self._engine = Engine()
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def errors(self, documents: Sequence[Document]) -> list[str | None]:
        return recheck_all(documents, self._engine)


class _ModelWritten:
    """What a model wrote: results are compared outside of the processes that it runs in."""

    def __enter__(self) -> Self:
        self._sandbox = Sandbox(LIMITS)
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.close()

    def errors(self, documents: Sequence[Document]) -> list[str | None]:
        return [self._error(one) for one in documents]

    def _error(self, document: Document) -> str | None:
        metadata = document.metadata
        inputs = [one["arguments"] for one in metadata["tests"]]
        for number, solution in enumerate(metadata["solutions"]):
            try:
                source, name = solution["source"], metadata["name"]
                results = run_solution(self._sandbox, source, name, inputs)
            except NoAnswerError as error:
                return f"solution {number}: {error}"
            for test, result in zip(metadata["tests"], results, strict=True):
                if not agrees(test["expected"], result):
                    return f"solution {number}: {test['arguments']} gives {result[1]}"
        tests = [ProblemTest(**one) for one in metadata["tests"]]
        wrong = document_problem(self._sandbox, document.text, metadata["name"], tests)
        return wrong and f"the document itself: {wrong.removeprefix('the document itself: ')}"


_CHECKERS: dict[str, Callable[[], _Checker]] = {
    SOURCE: _Drawn,
    TRANSLATED_SOURCE: _Translated,
    MODEL_SOURCE: _ModelWritten,
}


def _sources(folder: Path) -> list[str]:
    there = source_files(folder)
    sources = [name for name in _CHECKERS if name in there]
    if not sources:
        raise DataError(
            f"{folder}: holds none of the sources {', '.join(_CHECKERS)}; `codemix corpus "
            "synthesize` makes a corpus of them"
        )
    return sources


def _documents(folder: Path, source: str) -> Iterator[Document]:
    for document in read_documents(source_files(folder)[source], source, Skipped()):
        if wrong := _wrong_fields(document):
            raise DataError(
                f"{folder}: document {document.id} has no {', '.join(wrong)} in its metadata, or "
                "not as `codemix corpus synthesize` writes them, whose documents alone can be "
                "verified"
            )
        yield document


def _wrong_fields(document: Document) -> list[str]:
    """Fields that verification needs, and which are missing or of another form."""
    metadata = document.metadata
    needed = _NEEDED | (_OF_TRANSLATED if document.source == TRANSLATED_SOURCE else {})
    wrong = [name for name, kind in needed.items() if not isinstance(metadata.get(name), kind)]
    if wrong:
        return wrong
    solutions, tests = metadata["solutions"], metadata["tests"]
    are_sources = all(
        isinstance(one, dict) and isinstance(one.get("source"), str) for one in solutions
    )
    are_tests = all(
        isinstance(one, dict) and set(one) == {"arguments", "expected"} for one in tests
    )
    checks = {
        "solutions": are_sources and solutions,
        "tests": are_tests,
        "mutation": isinstance(metadata["mutation"].get("score"), int | float),
    }
    return [name for name, is_right in checks.items() if not is_right]


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
