"""What a model has answered so far in one task: kept as it comes, so that a killed evaluation goes
on where it stood."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from megatron_codemix.evaluation.engine.requests import (
    Generation,
    GenerationRequest,
    Score,
)
from megatron_codemix.files import Json, full_disk, read_jsonl, rewrite_jsonl

Record = Mapping[str, Json]


class Answers:
    """Answers by request. A file of JSON lines; the first says of which checkpoint and which data
    they are, and a file of others is begun anew."""

    def __init__(self, path: Path, settings: Record) -> None:
        self._path = path
        self._records: dict[str, Record] = {}
        lines = read_jsonl(path)
        if lines and lines[0] == {"settings": settings}:
            self._records = {line["key"]: line for line in lines[1:]}
        # Also where it goes on: a line that a kill has cut must not be continued.
        rewrite_jsonl(path, [{"settings": settings}, *map(dict, self._records.values())])
        self._handle = open(path, "a", encoding="utf-8")  # noqa: SIM115  # closed by `close`

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def score(self, key: str) -> Score:
        """The answer to a request for a score. Raises KeyError where there is none."""
        return Score(**self._records[key]["score"])

    def generation(self, key: str) -> Generation:
        """The answer to a request for a text. Raises KeyError where there is none."""
        return Generation(**self._records[key]["generation"])

    def add(self, key: str, answer: Score | Generation) -> None:
        """Keeps an answer; once it returns, a kill does not lose it."""
        kind = "score" if isinstance(answer, Score) else "generation"
        record = {"key": key, kind: vars(answer)}
        self._records[key] = record
        try:
            self._handle.write(json.dumps(record) + "\n")
            self._handle.flush()
        except OSError as error:
            raise full_disk(error, self._path) from error

    def close(self) -> None:
        """Ends writing; the file stays."""
        self._handle.close()

    def remove(self) -> None:
        """Ends writing and removes the file: the results are written."""
        self.close()
        self._path.unlink()


@contextmanager
def answers_in(path: Path, settings: Record) -> Iterator[Answers]:
    """The answers in a file, which is removed if the block succeeds and stays otherwise."""
    answers = Answers(path, settings)
    try:
        yield answers
    except BaseException:
        answers.close()
        raise
    answers.remove()


def score_key(context: Sequence[int], continuation: Sequence[int]) -> str:
    """Names the question how likely a continuation is."""
    numbers = np.array([len(context), *context, *continuation], dtype=np.int32)
    return hashlib.blake2b(numbers.tobytes(), digest_size=16).hexdigest()


def generation_key(request: GenerationRequest) -> str:
    """Names a request for a text, its seed included."""
    content = json.dumps([list(request.prompt), *_settings(request)])
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _settings(request: GenerationRequest) -> list[Json]:
    return [
        request.max_new_tokens,
        list(request.stop),
        request.temperature,
        request.top_p,
        request.seed,
    ]
