"""How fast duplicates and the items of evaluations are found."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from shutil import rmtree

from megatron_codemix.bench.corpus.duplicates_peer import find_near_duplicates
from megatron_codemix.bench.corpus.made_up import made_up_task
from megatron_codemix.bench.corpus.setting import (
    Setting,
    megabytes_per_second,
    reading,
    texts_of,
)
from megatron_codemix.bench.measure import Cost, Trial, alternate
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.corpus.contamination.items import EvaluationTask
from megatron_codemix.corpus.contamination.stage import DecontaminateStage
from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.duplicates.bands import bands_for
from megatron_codemix.corpus.duplicates.run import dedup_corpus
from megatron_codemix.corpus.duplicates.search import (
    JACCARD,
    SearchedPart,
    SearchOptions,
    find_duplicates,
)
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.writer import utf8_bytes

_MADE_UP_ITEMS = 1000


def duplicates(setting: Setting) -> Iterator[Row]:
    """Near-duplicates beside datatrove's own steps; exact ones; the stages with their files."""
    corpus = setting.local_corpus()
    documents = texts_of(corpus)
    num_bytes = sum(utf8_bytes(one.text) for texts in documents.values() for one in texts)
    work = setting.folder / "duplicates"

    def afresh() -> None:
        rmtree(work, ignore_errors=True)
        work.mkdir()

    tasks = list(setting.read_tasks()) if setting.read_tasks else [made_up_task(_MADE_UP_ITEMS, 1)]
    texts = [[one.text for one in some] for some in documents.values()]
    costs = alternate(
        {
            "near": Trial(lambda: search(documents, SearchOptions(), work), afresh),
            "peer": Trial(lambda: find_near_duplicates(texts, bands_for(JACCARD), work), afresh),
            "exact": Trial(lambda: search(documents, SearchOptions(jaccard=None), work), afresh),
            "dedup": Trial(lambda: dedup_corpus(corpus, work / "out", SearchOptions()), afresh),
            "decontaminate": Trial(lambda: _decontaminate(corpus, work / "out", tasks), afresh),
        },
        setting.repeats,
    )
    yield from _rows(num_bytes, costs, _described(tasks))


def search(documents: Mapping[str, Sequence[Document]], options: SearchOptions, work: Path) -> None:
    """The whole search, from texts in memory."""
    parts = [
        SearchedPart(number, source, partial(reading, texts))
        for number, (source, texts) in enumerate(documents.items())
    ]
    find_duplicates(parts, options, work)


def _decontaminate(corpus: Path, out: Path, tasks: Sequence[EvaluationTask]) -> None:
    run_stage(DecontaminateStage(tasks, "drop", out), corpus, out)


def _described(tasks: Sequence[EvaluationTask]) -> str:
    return f"{sum(len(task.items) for task in tasks):,} items of {len(tasks)} tasks"


def _rows(num_bytes: int, costs: Mapping[str, Cost], items: str) -> Iterator[Row]:
    bands = bands_for(JACCARD)
    notes = {
        "near": f"texts in memory, signatures to clusters, {bands.num_bands} bands of "
        f"{bands.rows}; peer: datatrove's three steps on the same words",
        "exact": "texts in memory",
        "dedup": "the stage: exact and near, reading and writing included",
        "decontaminate": f"the stage, the index of {items} included",
    }
    names = {
        "near": "near-duplicates",
        "exact": "exact duplicates",
        "dedup": "dedup",
        "decontaminate": "decontaminate",
    }
    for key, name in names.items():
        is_near = key == "near"
        yield Row(
            name=f"{name}, {num_bytes / 1e6:.1f} MB of text",
            ours=megabytes_per_second(num_bytes, costs[key]),
            peer=megabytes_per_second(num_bytes, costs["peer"]) if is_near else None,
            unit="MB/s",
            is_rate=True,
            goal=Goal(at_least=5) if is_near else None,
            note=f"a core; {notes[key]}",
            ours_system_seconds=costs[key].system,
            peer_system_seconds=costs["peer"].system if is_near else None,
        )
