"""Duplicates: one copy stays, and it stays where nothing leaks."""

import itertools

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.duplicates.contained import ExactDuplicates, drop_contained
from megatron_codemix.corpus.split import split_of, split_position

ORIGINS = sorted((f"file{number}.py" for number in range(200)), key=split_position)
HELD_OUT, TRAINED = ORIGINS[0], ORIGINS[-1]


def document(origin: str, text: str, source: str = "text") -> Document:
    return Document(f"{origin}#{source}", source, origin, origin, None, text)


def kept(documents: list[Document]) -> list[Document]:
    duplicates = ExactDuplicates()
    for one in documents:
        duplicates.add(one)
    return [one for one in documents if duplicates.keeps(one)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_copy_that_is_held_out_first_stays(order: tuple[int, ...]):
    copies = [
        document(TRAINED, "the same\n text", "code"),
        document(HELD_OUT, "the  same text"),
        document(ORIGINS[100], "the same text "),
    ]
    assert [one.origin for one in kept([copies[place] for place in order])] == [HELD_OUT]


def test_a_document_listed_twice_is_kept_once():
    assert len(kept([document(TRAINED, "a"), document(TRAINED, "a")])) == 1


def test_a_held_out_text_in_a_training_file_removes_the_file():
    text = document(HELD_OUT, "some words that\n   are held out")
    file = document(TRAINED, "x = 1\n# some words\nsome words that\n\tare held out\n", "code")
    assert split_of(HELD_OUT, 0.05) == "validation"
    assert drop_contained([text, file]) == ([text], [file])


def test_a_training_text_in_a_held_out_file_is_removed():
    text = document(TRAINED, "some words that\n   are trained on")
    file = document(HELD_OUT, "x = 1\nsome words that\n\tare trained on\n", "code")
    assert drop_contained([text, file]) == ([file], [text])


def test_a_text_in_a_file_of_its_own_origin_stays():
    text = document(HELD_OUT, "some words")
    file = document(HELD_OUT, "first\nsome words\nlast", "code")
    assert drop_contained([text, file]) == ([text, file], [])


def test_the_longest_line_alone_is_not_containment():
    text = document(HELD_OUT, "a long shared line\nand another")
    file = document(TRAINED, "a long shared line\nand something else", "code")
    assert drop_contained([text, file])[1] == []
