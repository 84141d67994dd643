"""Where a generated text ends: found in its bytes, whatever tokens they came in."""

import pytest

from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.evaluation.engine.requests import GenerationRequest
from megatron_codemix.evaluation.engine.text import GeneratedText, kept_prompt
from tests.helpers.tiny import END_OF_DOCUMENT, write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Each byte is a token."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return Tokenizer.load(path)


def fed(
    tokenizer: Tokenizer, text: str, *stop: str, max_new_tokens: int = 1000
) -> tuple[GeneratedText, int]:
    """(the text, tokens that it took)."""
    tokens = [*tokenizer.encode_batch([text])[0].tolist(), END_OF_DOCUMENT]
    generated = GeneratedText(
        GenerationRequest([END_OF_DOCUMENT], max_new_tokens, stop=stop), tokenizer
    )
    for count, token in enumerate(tokens, start=1):
        if generated.add(token):
            return generated, count
    raise AssertionError("it has no end")


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one\n\ntwo", ("\n\n",), "one"),
        ("one\ntwo\n\n", ("\n\n",), "one\ntwo"),
        ("na nab nabla", ("nabla",), "na nab "),
        ("x = 1\ndef f", ("\nclass", "\ndef", "\nif"), "x = 1"),
        ("abcd", ("cd", "abcd"), ""),
        ("abc", ("bc", "b"), "a"),
        ("naïve — 終わり。次", ("。",), "naïve — 終わり"),
        ("é", ("\N{COMBINING ACUTE ACCENT}",), "é"),
        ("stop", ("stop",), ""),
        ("text", ("", "absent"), "text"),
    ],
)
def test_text_ends_before_the_first_stop_string(
    text: str, stops: tuple[str, ...], expected: str, tokenizer: Tokenizer
) -> None:
    generated, _ = fed(tokenizer, text, *stops)
    result = generated.generation(0)
    assert result.text == expected
    assert result.finish_reason == ("end" if expected == text else "stop")


def test_it_ends_with_the_token_that_completes_the_stop_string(tokenizer: Tokenizer) -> None:
    generated, count = fed(tokenizer, "ab終cd", "終")
    assert count == len("ab終".encode())
    assert len(generated.generation(0).tokens) == count


def test_the_end_of_document_is_no_token_of_the_text(tokenizer: Tokenizer) -> None:
    result = fed(tokenizer, "abc")[0].generation(3)
    assert (result.text, len(result.tokens), result.finish_reason) == ("abc", 3, "end")
    assert result.num_cut == 3


def test_a_text_of_the_length_asked_for_may_end_within_a_character(tokenizer: Tokenizer) -> None:
    generated, count = fed(tokenizer, "a終", max_new_tokens=3)
    result = generated.generation(0)
    assert (count, result.text, result.finish_reason) == (3, "a\N{REPLACEMENT CHARACTER}", "length")


def test_a_prompt_is_cut_on_the_left_and_leaves_room() -> None:
    assert kept_prompt([1, 2, 3, 4, 5], max_new_tokens=7, max_length=10) == [3, 4, 5]
    assert kept_prompt([1, 2, 3], max_new_tokens=7, max_length=10) == [1, 2, 3]
    assert kept_prompt([1, 2], max_new_tokens=1, max_length=10) == [1, 2]
