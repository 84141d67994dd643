"""Items of evaluations in documents: all that are there verbatim are found, and little else."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from megatron_codemix.cli.corpus.evaluation_items import evaluation_tasks
from megatron_codemix.corpus.contamination.cut import cut_around
from megatron_codemix.corpus.contamination.index import FoundItems, ItemIndex
from megatron_codemix.corpus.contamination.items import EvaluationTask, Item, sought_items
from megatron_codemix.errors import DataError
from megatron_codemix.ops import join_words
from tests.helpers.datatrove_steps import contamination_filter
from tests.helpers.evaluation_data import real_data


def words_of(rng: Random, count: int) -> str:
    return " ".join(f"word{rng.randrange(10**6)}" for _ in range(count))


def task_of(*items: tuple[str, ...], ngram: int = 13, name: str = "quiz") -> EvaluationTask:
    numbered = (Item(str(number), texts) for number, texts in enumerate(items))
    return EvaluationTask(name, tuple(numbered), ngram)


def found_ids(index: ItemIndex, found: FoundItems | None) -> set[str]:
    return {index.items[one.number].item.id for one in found.items} if found else set()


def search(task: EvaluationTask, text: str) -> set[str]:
    index = ItemIndex([task])
    return found_ids(index, index.find(text))


@pytest.mark.parametrize("size", [1, 2, 4, 7, 8, 12, 13, 14, 40])
def test_verbatim_items_of_every_size_are_found(size: int) -> None:
    rng = Random(size)
    items = [(words_of(rng, size), words_of(rng, 1)) for _ in range(30)]
    index = ItemIndex([task_of(*items)])
    for number, texts in enumerate(items):
        document = f"{words_of(rng, 50)}.\n{'; '.join(texts).upper()}!\n{words_of(rng, 50)}"
        found = index.find(document)
        assert found_ids(index, found) == {str(number)}
        assert found is not None
        assert found.items[0].words_found == found.items[0].words
        begin, end = found.items[0].first, found.items[0].last
        assert texts[0] in " ".join(join_words(document).split()[begin:end])
        assert index.find(words_of(rng, 500)) is None


def test_thirteen_words_in_a_row_are_enough_and_twelve_are_not() -> None:
    words = words_of(Random(0), 40).split()
    task = task_of((" ".join(words),))
    assert search(task, " ".join(["before", *words[5:18], "behind"])) == {"0"}
    assert search(task, " ".join(["before", *words[5:17], "behind"])) == set()
    assert search(task_of((" ".join(words),), ngram=10), " ".join(words[5:15])) == {"0"}


def test_what_share_of_an_item_is_found_is_told() -> None:
    words = words_of(Random(1), 40).split()
    index = ItemIndex([task_of((" ".join(words),))])
    found = index.find(" ".join([*words[:15], "other", *words[20:]]))
    assert found is not None
    assert [(one.words_found, one.words) for one in found.items] == [(35, 40)]
    assert found.is_found.tolist() == [True] * 15 + [False] + [True] * 20


def test_a_short_item_is_found_as_a_whole_only() -> None:
    task = task_of(("who wrote the song about the long river", "Nobody"))
    assert search(task, "Ask: who wrote the song about the long river? Well.") == {"0"}
    assert search(task, "who wrote the song about the river, nobody") == set()


def test_a_very_short_item_needs_another_of_its_texts() -> None:
    task = task_of(("the capital of France", "Paris", "London", "B"))
    assert search(task, "We saw the capital of France in May.") == set()
    assert search(task, "What is the capital of France? A: Paris") == {"0"}
    assert search(task, "Paris is nice") == set()
    assert search(task_of(("the capital of France",)), "in the capital of France") == {"0"}


def test_a_very_short_item_needs_another_text_however_short_that_is() -> None:
    sum_ = task_of(("What is 12 + 34?", "46"))
    assert search(sum_, "what is 12 34 about") == set()
    assert search(sum_, "What is 12+34? It is 46.") == {"0"}
    letters = task_of(("She ate", "A", "B"))
    assert search(letters, "When she ate, we left.") == set()
    assert search(letters, "She ate: (B)") == {"0"}
    mixed = task_of(("She ate", "it", "the apple"))  # short ones tell nothing beside others
    assert search(mixed, "She ate it") == set()
    assert search(mixed, "She ate the apple") == {"0"}


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    question = (
        "\u4e0b\u5217\u5173\u4e8e\u5408\u540c\u6210\u7acb\u7684\u8bf4\u6cd5\u6b63\u786e\u7684\u662f"
    )
    task = task_of((f"{question}\uff1f",))
    assert search(task, f"\u9898\u76ee{question}\u7b54\u6848") == {"0"}
    assert search(task, f"\u9898\u76ee{question[:9]}\u7b54\u6848{question[9:]}") == set()


def test_numbers_letters_and_repetitions_tell_nothing() -> None:
    counting = " ".join(map(str, range(1, 20)))
    loops = "for i in range n for j in range i n for k in range j n"
    rest = words_of(Random(2), 20)
    task = task_of((f"{counting} {loops} {rest}",))
    assert search(task, f"pages {' '.join(map(str, range(1, 17)))} {loops}") == set()
    assert search(task, f"see {rest}") == {"0"}
    assert search(task_of((counting,)), f"{counting} and more") == {"0"}  # it has nothing else


def test_a_tasks_manner_of_speaking_tells_nothing() -> None:
    rng = Random(3)
    manner = "you are given a passage and a question please read the passage and answer it"
    task = task_of(*[(f"{manner} {words_of(rng, 20)}",) for _ in range(30)], (manner,))
    assert search(task, f"Task: {manner}") == {"30"}
    few = task_of(*[(f"{manner} {words_of(rng, 20)}",) for _ in range(5)])
    assert search(few, f"Task: {manner}") == set("01234")


def test_items_that_share_a_text_are_found_together() -> None:
    passage = words_of(Random(4), 50)
    first = task_of((passage, "is it so"), (passage, "is it not"), name="first")
    second = task_of((passage,), name="second")
    index = ItemIndex([first, second])
    found = index.find(passage)
    assert found is not None
    assert [index.items[one.number].task for one in found.items] == ["first", "first", "second"]


def test_empty_items_are_passed_over() -> None:
    assert sought_items(task_of((), ("", " ?"))) == []
    assert ItemIndex([task_of(("",))]).find("anything") is None


@pytest.mark.parametrize("seed", range(5))
def test_documents_are_found_that_datatrove_finds(tmp_path: Path, seed: int) -> None:
    """With the same n-grams in its index: its filter stops at the first."""
    pytest.importorskip("datatrove")
    from datatrove.data import Document as TheirDocument

    rng = Random(seed)
    items = [words_of(rng, rng.randrange(13, 60)) for _ in range(50)]
    index = ItemIndex([task_of(*[(text,) for text in items])])
    hashes = np.unique(np.concatenate([one.needles[0].hashes for one in index.items]))
    peer = contamination_filter(tmp_path, {"quiz": hashes}, ngram=13)
    num_found = 0
    for _ in range(200):
        part = rng.choice(items).split()
        begin = rng.randrange(len(part))
        copied = part[begin : begin + rng.randrange(8, 30)]
        text = " ".join([words_of(rng, 30), *copied, words_of(rng, 30)])
        found = index.find(text)
        verdict: Any = peer.filter(TheirDocument(text=text, id="0"))
        assert (found is not None) == (verdict is not True)
        num_found += found is not None
    assert 20 < num_found < 180


def test_all_real_items_are_found_verbatim() -> None:
    """Of every task whose data is there."""
    tasks, _ = evaluation_tasks([], real_data(), ngram=13, code_ngram=10)
    index = ItemIndex(tasks)
    assert len(index.items) == sum(len(task.items) for task in tasks)
    for task in tasks:
        for item in task.items[::7]:
            found = index.find("Before it. " + "\n".join(item.texts) + "\nand behind.")
            assert found is not None, (task.name, item)
            names = {
                (index.items[one.number].task, index.items[one.number].item.id): one
                for one in found.items
            }
            assert names[task.name, item.id].words_found == names[task.name, item.id].words


def test_tasks_are_chosen_by_name_and_missing_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "copa.jsonl").write_text(
        '{"premise": "The man turned on the faucet.", "choice1": "The toilet filled.", '
        '"choice2": "Water flowed from the spout.", "question": "effect", "label": 1}\n'
    )
    tasks, missing = evaluation_tasks(["copa", "mbpp"], tmp_path, ngram=13, code_ngram=10)
    assert [(task.name, len(task.items), task.ngram) for task in tasks] == [("copa", 1, 13)]
    assert missing == ["mbpp"]
    assert "effect" in tasks[0].items[0].texts
    with pytest.raises(DataError, match="has data of none of the tasks mbpp"):
        evaluation_tasks(["mbpp"], tmp_path, ngram=13, code_ngram=10)
    with pytest.raises(DataError, match="there is no such folder"):
        evaluation_tasks([], tmp_path / "none", ngram=13, code_ngram=10)


@pytest.mark.parametrize("size", [100, 1000])
def test_a_cut_leaves_pieces_that_are_far_enough_from_it(size: int) -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(3 * size))
    left = cut_around(text, [(size, 2 * size)])
    if size == 100:
        assert left is None
    else:
        assert left == f"{text[:800]}\n\n{text[2200:]}"


def test_a_document_in_too_many_pieces_goes() -> None:
    text = "x" * 20_000
    spans = [(begin, begin + 10) for begin in range(1000, 20_000, 1000)]
    assert cut_around(text, spans[:9]) is not None
    assert cut_around(text, spans[:10]) is None


def test_cuts_that_overlap_are_one() -> None:
    """Twelve items in a row, a few words apart: two pieces are left, not thirteen."""
    text = "".join(chr(ord("a") + number % 26) for number in range(20_000))
    spans = [(begin, begin + 80) for begin in range(10_000, 10_000 + 12 * 100, 100)]
    assert cut_around(text, spans) == f"{text[:9800]}\n\n{text[11_380:]}"
    whole = [(begin, begin + 1) for begin in range(0, 20_000, 100)]
    assert cut_around(text, whole) is None
    ends = [(0, 10), *spans, (19_990, 20_000)]
    assert cut_around(text, ends) == f"{text[210:9800]}\n\n{text[11_380:19_790]}"
