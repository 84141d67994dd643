"""A corpus of problems that a model has written: asked for until there are enough, tried, kept."""

import logging
import math
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.output_place import require_folder_place
from megatron_codemix.corpus.store import PARTS_FOLDER
from megatron_codemix.corpus.synthesis.blocks import code_hash
from megatron_codemix.corpus.synthesis.model_written.record import SOURCE, kept
from megatron_codemix.corpus.synthesis.model_written.rounds import Manner, Rounds
from megatron_codemix.corpus.synthesis.model_written.seeds import corpus_identity, seed_documents
from megatron_codemix.corpus.synthesis.model_written.trial import LIMITS
from megatron_codemix.corpus.synthesis.output import Output, Synthesized
from megatron_codemix.corpus.synthesis.verification.batch import Rejected
from megatron_codemix.endpoint.endpoint import Endpoint
from megatron_codemix.endpoint.kept_replies import KeptReplies
from megatron_codemix.errors import CodemixError, DataError
from megatron_codemix.locks import exclusive
from megatron_codemix.sandbox.sandbox import Sandbox

log = logging.getLogger(__name__)

REPLIES = ".replies.jsonl"
"""In the corpus folder, and left there: what has been paid for."""
_ROUND_DOCUMENTS = 64
_USUAL_YIELD = 0.5
"""Of the documents; how many are shown to the model at first."""

_HOPELESS = 64
"""Documents without one problem that stands, after which the model is not asked for more."""

Advance = Callable[[int], None]


def synthesize_with_model(
    out: Path,
    *,
    count: int,
    seed: int,
    seed_corpus: Path,
    endpoint: Endpoint,
    manner: Manner,
    replies_file: Path | None = None,
    advance: Advance = lambda done: None,
) -> Synthesized:
    """Writes `count` documents to `<out>/synthetic_model/part-NNNNN.jsonl.zst`, and corpus.json
    last. A complete corpus of the same request is left as it is. `advance` is told of replies.

    What the endpoint has answered is kept (in `replies_file`, or in the folder) as it comes: after
    any stop the same command asks only for the rest. The same replies give the same corpus.

    Raises DataError: a folder that holds something else, a corpus whose documents do not suffice;
    what `Asking.run` raises where the endpoint fails, with what is kept and how to go on.
    """
    output = _output(out, count, seed, seed_corpus, endpoint, manner)
    if (complete := output.complete(besides=frozenset({REPLIES}))) is not None:
        return complete
    with ExitStack() as stack:
        lock = out / PARTS_FOLDER / ".synthesize.lock"
        stack.enter_context(exclusive(lock, "codemix corpus synthesize"))
        place = replies_file or out / REPLIES
        replies = stack.enter_context(KeptReplies.opened(place))
        sandbox = stack.enter_context(Sandbox(LIMITS))
        rounds = Rounds(endpoint, replies, sandbox, manner, lambda: advance(1))
        try:
            made = _collect(rounds, seed_corpus, count, seed, endpoint.model)
        except CodemixError as error:
            raise type(error)(
                f"{error}\n{len(replies)} replies are kept in {place}; the same command "
                "asks only for the others"
            ) from error
        result = output.write(
            {SOURCE: iter(made.documents)}, candidates=made.shown, rejected=made.rejected
        )
        shutil.rmtree(out / PARTS_FOLDER)
    return result


def plan_with_model(
    out: Path, *, count: int, seed: int, seed_corpus: Path, endpoint: Endpoint, manner: Manner
) -> bool:
    """Whether what `synthesize_with_model` would make is there already. Writes and asks nothing;
    raises DataError as it does."""
    output = _output(out, count, seed, seed_corpus, endpoint, manner)
    return output.complete(besides=frozenset({REPLIES})) is not None


def _output(
    out: Path, count: int, seed: int, seed_corpus: Path, endpoint: Endpoint, manner: Manner
) -> Output:
    require_folder_place(out, "the synthetic corpus")
    options: dict[str, JsonValue] = {
        "count": count,
        "seed": seed,
        "endpoint": endpoint.name,
        "model": endpoint.model,
        "temperature": manner.temperature,
        "max_tokens": endpoint.max_tokens,
        "seed_documents": corpus_identity(seed_corpus),
        "code": code_hash(),
    }
    return Output(out, (SOURCE,), options)


class _Made:
    """Documents so far, and why others are none."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.rejected: Counter[str] = Counter()
        self.shown = 0
        self._keys: set[bytes] = set()

    def take(
        self, rounds: Rounds, documents: Sequence[Document], count: int, seed: int, model: str
    ) -> None:
        for document, outcome in zip(documents, rounds.take(documents, seed), strict=True):
            if len(self.documents) == count:
                return
            self.shown += 1
            if isinstance(outcome, Rejected):
                self.rejected[outcome.reason] += 1
                continue
            one = kept(outcome, document, model, seed)
            if not self._keys.isdisjoint(one.keys):
                self.rejected["near-duplicate"] += 1
            elif (wrong := rounds.problem_with(one.document.text, outcome)) is not None:
                self.rejected["document"] += 1
                log.warning("a document of %s was dropped: %s", document.id, wrong)
                continue
            else:
                self.documents.append(one.document)
            self._keys.update(one.keys)

    def reasons(self) -> str:
        """Why most of the others are none."""
        return "left out: " + ", ".join(f"{why} {n}" for why, n in self.rejected.most_common(5))


def _collect(rounds: Rounds, corpus: Path, count: int, seed: int, model: str) -> _Made:
    made, most = _Made(), math.ceil(count / _USUAL_YIELD)
    while True:
        documents = seed_documents(corpus, seed, most)
        while made.shown < len(documents) and len(made.documents) < count:
            still = math.ceil((count - len(made.documents)) / _USUAL_YIELD)
            size = min(still, _ROUND_DOCUMENTS)
            made.take(rounds, documents[made.shown : made.shown + size], count, seed, model)
            if made.shown >= _HOPELESS and not made.documents:
                raise DataError(
                    f"of the first {made.shown} documents the model made no problem that stands "
                    f"({made.reasons()}); look at its replies, and choose another model, or more "
                    "tokens for a reply"
                )
        if len(made.documents) == count:
            return made
        if len(documents) < most:
            raise DataError(
                f"{corpus}: of {len(documents)} documents the model made {len(made.documents)} "
                f"problems that stand, {count} are wanted ({made.reasons()}); ask for fewer, or "
                "give a corpus with more documents"
            )
        most *= 2
