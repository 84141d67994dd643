"""One verified problem as it is written: a document and all that is needed to verify it again."""

import hashlib
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.synthesis.difficulty import difficulty
from megatron_codemix.corpus.synthesis.distinct import key, normalised_statement, skeleton
from megatron_codemix.corpus.synthesis.documents.shapes import Exercise, drawn_shape
from megatron_codemix.corpus.synthesis.verification.batch import Verified

SOURCE = "synthetic"
LICENCE = "Apache-2.0"
"""This project's own: every sentence and line comes from its templates."""
METHOD = "grammar"


@dataclass(frozen=True)
class Kept:
    """A document with what decides whether it is a near-duplicate of one before it."""

    document: Document
    keys: tuple[bytes, ...]
    companions: tuple[Document, ...] = ()
    """The same problem in other languages."""


def near_duplicate_keys(statement: str, reference: str) -> tuple[bytes, bytes]:
    """Of two problems that share either of these, the later is dropped."""
    return key(normalised_statement(statement)), key(f"program {skeleton(reference)}")


def kept(verified: Verified, statement: str, rng: Random) -> Kept:
    """The document in a shape that the generator draws."""
    problem = verified.problem
    exercise = Exercise(
        name=problem.name,
        summary=problem.summary,
        statement=statement,
        solutions=problem.solutions,
        tests=verified.tests,
    )
    shape = drawn_shape(exercise, rng)
    text = shape.write(exercise, rng)
    metadata: dict[str, Any] = {
        "family": problem.family,
        "method": METHOD,
        "language": "python",
        "shape": shape.name,
        "name": problem.name,
        "spec": problem.spec,
        "statement": statement,
        "solutions": [asdict(one) for one in problem.solutions],
        "tests": [asdict(one) for one in verified.tests],
        "difficulty": difficulty(problem.solutions[0].source),
        "mutation": {**asdict(verified.mutation), "score": round(verified.mutation.score, 3)},
    }
    name = hashlib.blake2b(
        f"{problem.family}\0{statement}\0{text}".encode(), digest_size=8
    ).hexdigest()
    identity = f"{SOURCE}/{problem.family}/{name}"
    document = Document(identity, SOURCE, identity, identity, LICENCE, text, metadata)
    return Kept(document, near_duplicate_keys(statement, problem.solutions[0].source))
