"""A small corpus of two sources in seven parts, and stages over it."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.parts import Part
from megatron_codemix.corpus.stages.run import CorpusResult, run_stage
from megatron_codemix.corpus.stages.split_stage import SplitStage
from megatron_codemix.corpus.stages.stage import Stage, read_part

FRACTION = 0.3
PART_BYTES = 1  # a file is a part
NUM_FILES = {"code": 4, "text": 3}
STAGE = SplitStage("train", FRACTION)


def records(source: str, number: int, count: int = 12) -> list[dict[str, Any]]:
    numbers = random.Random(f"{source} {number}")
    return [
        {
            "id": f"{source}/{number}/{row}",
            "origin": f"origin {numbers.randrange(40)}",
            "text": "caf\u00e9 \U0001f600 " * numbers.randrange(1, 9) + str(row),
            "licence": numbers.choice(["MIT", None]),
            "metadata": {"stars": row} if row % 2 else {},
        }
        for row in range(count)
    ]


def write_corpus(folder: Path) -> Path:
    for source, count in NUM_FILES.items():
        (folder / source).mkdir(parents=True)
        for number in range(count):
            lines = "".join(json.dumps(record) + "\n" for record in records(source, number))
            (folder / source / f"part-{number:05d}.jsonl").write_text(lines)
    return folder


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read with nothing of ours."""
    with open(path, "rb") as raw:
        data = zstandard.ZstdDecompressor().stream_reader(raw).read()
    return [json.loads(line) for line in data.splitlines()]


def run(corpus: Path, out: Path, stage: Stage = STAGE, **options: Any) -> CorpusResult:
    return run_stage(stage, corpus, out, **{"part_bytes": PART_BYTES, **options})


class ShortStage(Stage):
    """Drops what is long; fails on what is damaged."""

    name = "short"

    def options(self) -> dict[str, Any]:
        return {}

    def documents(self, part: Part, dropped: Dropped) -> Iterator[Document]:
        for document in read_part(part, dropped):
            if len(document.text) < 20:
                dropped.change("marked")
                yield document.with_metadata(is_short=True)
            else:
                dropped.drop(document, "long", f"{len(document.text)} characters")
