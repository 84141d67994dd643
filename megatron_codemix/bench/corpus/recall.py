"""How much is found of what was planted: duplicates, and items of evaluations word for word."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from megatron_codemix.bench.corpus.made_up import draw_texts, made_up_task
from megatron_codemix.bench.corpus.planted import edited_copy, with_other_spaces
from megatron_codemix.bench.corpus.setting import Setting, reading, texts_of
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.corpus.contamination.index import ItemIndex
from megatron_codemix.corpus.contamination.items import EvaluationTask
from megatron_codemix.corpus.document import Document, digest
from megatron_codemix.corpus.duplicates.drops import Drops
from megatron_codemix.corpus.duplicates.search import SearchedPart, SearchOptions, find_duplicates

_SEED = 1
_ALIKE, _HALF_ALIKE = 0.8, 0.5
_MADE_UP_ITEMS = 1000
_MADE_UP_DOCUMENTS = 1000


def recall(setting: Setting) -> Iterator[Row]:
    """Planted among the documents of this machine."""
    documents = _distinct(texts_of(setting.local_corpus()).values())
    Random(_SEED).shuffle(documents)
    count = setting.number(3000, 100)
    yield _exact(documents, setting.folder / "exact", setting.number(10_000, 500))
    yield from _near(documents, setting.folder / "near", count)
    yield from _items(setting, documents)


def _distinct(sources: Iterable[list[Document]]) -> list[Document]:
    """Each text once: else one of the corpus might go because of another, and not of its copy."""
    first = {digest(one.text): one for texts in sources for one in texts}
    return list(first.values())


def _exact(documents: list[Document], folder: Path, count: int) -> Row:
    rng = Random(_SEED)
    chosen = documents[:count]
    copies = [replace(one, text=with_other_spaces(one.text, rng)) for one in chosen]
    exact = _search([documents, copies], SearchOptions(jaccard=None, keep_first=("0",)), folder)[0]
    gone = _pairs(exact)
    found = sum((number, number) in gone for number in range(len(chosen)))
    return Row(
        name="recall: exact duplicates, other white space",
        ours=found / len(chosen),
        peer=None,
        unit="",
        goal=Goal(at_least=0.99),
        note=f"{len(chosen):,} copies among {len(documents):,} documents; "
        f"{len(gone) - found} others dropped",
    )


def _near(documents: Sequence[Document], folder: Path, count: int) -> Iterator[Row]:
    """As many pairs at each similarity, together in one search."""
    rng = Random(_SEED)
    pairs: list[tuple[Document, Document]] = []
    for one in documents:
        wanted = (_ALIKE, _HALF_ALIKE)[len(pairs) % 2]
        text = edited_copy(one.text, wanted, rng)
        if text is not None:
            pairs.append((one, replace(one, text=text, id=f"{wanted}")))
        if len(pairs) == 2 * count:
            break
    originals, copies = [one for one, _ in pairs], [copy for _, copy in pairs]
    near = _search([originals, copies], SearchOptions(keep_first=("0",)), folder)[1]
    # An original may be like another of this machine, and go: then its copy goes for another too.
    lost = {int(number) for block in near.of_part(0) for number in block["document"]}
    gone = _pairs(near)
    counts, found = Counter[float](), Counter[float]()
    for number, copy in enumerate(copies):
        if number not in lost:
            counts[float(copy.id)] += 1
            found[float(copy.id)] += (number, number) in gone
    yield Row(
        name=f"recall: near-duplicates at Jaccard {_ALIKE}",
        ours=found[_ALIKE] / max(1, counts[_ALIKE]),
        peer=None,
        unit="",
        goal=Goal(at_least=0.95),
        note=f"{counts[_ALIKE]:,} real documents, edited",
    )
    total = found[_ALIKE] + found[_HALF_ALIKE]
    yield Row(
        name=f"precision: pairs at {_ALIKE} among those found at {_ALIKE} and {_HALF_ALIKE}",
        ours=found[_ALIKE] / max(1, total),
        peer=None,
        unit="",
        note=f"of {counts[_HALF_ALIKE]:,} pairs at {_HALF_ALIKE} {found[_HALF_ALIKE]} dropped",
    )


def _search(
    parts: Sequence[Sequence[Document]], options: SearchOptions, folder: Path
) -> tuple[Drops, Drops]:
    """Drops of the second part, whose documents go where one is a copy of one of the first."""
    folder.mkdir()
    searched = [
        SearchedPart(number, str(number), partial(reading, some))
        for number, some in enumerate(parts)
    ]
    found = find_duplicates(searched, options, folder)
    return found.exact, found.near


def _pairs(drops: Drops) -> set[tuple[int, int]]:
    """Documents of the second part that go, and those of the first that stay for them."""
    return {
        (int(one["document"]), int(one["kept_document"]))
        for block in drops.of_part(1)
        for one in block
        if one["kept_part"] == 0
    }


def _items(setting: Setting, documents: Sequence[Document]) -> Iterator[Row]:
    """Every item's texts, word for word, in the middle of a document."""
    tasks: list[EvaluationTask] = (
        list(setting.read_tasks()) if setting.read_tasks else [made_up_task(_MADE_UP_ITEMS, _SEED)]
    )
    index = ItemIndex(tasks)
    hosts = [one.text for one in documents]
    found = 0
    for number, sought in enumerate(index.items):
        host = hosts[number % len(hosts)]
        text = "\n".join([host[: len(host) // 2], *sought.item.texts, host[len(host) // 2 :]])
        hits = index.find(text)
        found += hits is not None and any(hit.number == number for hit in hits.items)
    names = ", ".join(task.name for task in tasks)
    yield Row(
        name=f"recall: items of {len(tasks)} tasks, word for word",
        ours=found / len(index.items),
        peer=None,
        unit="",
        goal=Goal(at_least=1.0),
        note=f"{len(index.items):,} items, {index.num_ngrams:,} n-grams: {names}",
    )
    # The machine's own documents may hold items rightly; these hold none.
    count = setting.number(_MADE_UP_DOCUMENTS, 100)
    others = draw_texts(np.random.default_rng([_SEED, 3]), count)
    wrong = sum(index.find(text) is not None for text in others)
    yield Row(
        name="precision: made-up documents without items that are dropped",
        ours=wrong,
        peer=None,
        unit="",
        note=f"of {count:,}",
    )
