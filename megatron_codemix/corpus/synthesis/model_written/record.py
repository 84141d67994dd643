"""An exercise that stands, as a document."""

import ast
import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from random import Random
from typing import Any

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.synthesis.difficulty import difficulty
from megatron_codemix.corpus.synthesis.documents.renaming import is_in_the_way
from megatron_codemix.corpus.synthesis.documents.shapes import Exercise as Written
from megatron_codemix.corpus.synthesis.documents.shapes import drawn_shape
from megatron_codemix.corpus.synthesis.model_written.trial import Tried
from megatron_codemix.corpus.synthesis.problem import Solution
from megatron_codemix.corpus.synthesis.record import Kept, near_duplicate_keys

SOURCE = "synthetic_model"
METHOD = "model-written"
FAMILY = "model-written"


def kept(tried: Tried, seed_document: Document, model: str, seed: int) -> Kept:
    """Of the same origin as the document that suggested it, so that a split does not part them.
    The licence is unknown: the model's own terms decide it."""
    exercise = tried.exercise
    solutions = (
        Solution("first answer", exercise.solution),
        Solution("second answer", tried.second_solution),
    )
    written = Written(
        name=exercise.name,
        summary="",
        statement=exercise.statement,
        solutions=solutions,
        tests=tried.tests,
    )
    rng = Random(f"{seed}/{seed_document.source}/{seed_document.id}")
    shape = drawn_shape(written, rng, without=unfit_shapes(solutions, exercise.name))
    text = shape.write(written, rng)
    metadata: dict[str, Any] = {
        "family": FAMILY,
        "method": METHOD,
        "language": "python",
        "shape": shape.name,
        "name": exercise.name,
        "spec": {"model": model, "seed_document": seed_document.id},
        "statement": exercise.statement,
        "solutions": [asdict(one) for one in solutions],
        "tests": [asdict(one) for one in tried.tests],
        "difficulty": difficulty(exercise.solution),
        "mutation": {**asdict(tried.mutation), "score": round(tried.mutation.score, 3)},
    }
    name = hashlib.blake2b(f"{exercise.statement}\0{text}".encode(), digest_size=8).hexdigest()
    identity = f"{SOURCE}/{name}"
    document = Document(identity, SOURCE, identity, seed_document.origin, None, text, metadata)
    return Kept(document, near_duplicate_keys(exercise.statement, exercise.solution))


def unfit_shapes(solutions: Sequence[Solution], name: str) -> list[str]:
    """Shapes that do not hold these solutions, besides those that say so themselves."""
    unfit = ["docstring"] if any(_has_docstring(one.source) for one in solutions) else []
    pairs = combinations([one.source for one in solutions], 2)
    if any(is_in_the_way(one, other, name) for one, other in pairs):
        unfit.append("two ways")
    return unfit


def _has_docstring(source: str) -> bool:
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return any(ast.get_docstring(node) is not None for node in functions)
