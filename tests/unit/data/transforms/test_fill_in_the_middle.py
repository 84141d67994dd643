"""Compared with the paper's definition at the level of text, and with a hand-drawn example."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from megatron_codemix.data.order.stateless import source_key
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.data.transforms.fill_in_the_middle import FillInTheMiddle, find_sentinels
from megatron_codemix.errors import DataError

MERGES = [("a", "b"), ("b", "a"), ("ab", "ab"), ("\u0120", "ab")]
TEXT = st.text(st.sampled_from("ab \n\u00e9\u4e2d\U0001f600<|fim_middle|>"), max_size=60)


def make_tokenizer(tmp_path_factory, *special: str) -> Tokenizer:
    """Bytes and a few merges, so that a cut can fall inside of a token."""
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in MERGES)]
    backend = Backend(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>", *special])
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    backend.save(str(path))
    return Tokenizer.load(path)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Tokenizer:
    names = [f"<|fim_{piece}|>" for piece in ("prefix", "middle", "suffix")]
    return make_tokenizer(tmp_path_factory, *names)


def make_transform(tokenizer, *, rate=1.0, spm_rate=0.5, seed=1, source="code"):
    return FillInTheMiddle(tokenizer, rate=rate, spm_rate=spm_rate, seed=seed, source=source)


def make_row(tokenizer, texts, length):
    """Whole documents and their end tokens, then padding; (tokens, documents)."""
    end = tokenizer.end_of_document_id
    rows = [np.append(ids, end) for ids in tokenizer.encode_batch(texts)]
    documents = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    stream = np.concatenate(rows)
    fill = np.full(length - len(stream), -1)
    return (
        np.append(stream, np.full_like(fill, end)).astype(np.int64),
        np.append(documents, fill).astype(np.int64),
    )


def undo(tokenizer, tokens):
    """The pieces of a transformed document (without its end) as the paper writes them; None where
    it was not transformed."""
    mark = find_sentinels(tokenizer)
    tokens = list(tokens)
    if not tokens or tokens[0] != mark.prefix:
        return None
    suffix, middle = tokens.index(mark.suffix), tokens.index(mark.middle)
    assert all(tokens.count(number) == 1 for number in mark)
    if suffix == 1:  # SPM: prefix and middle are one stretch
        return "SPM", tokens[middle + 1 :], tokens[suffix + 1 : middle]
    return "PSM", tokens[1:suffix], tokens[middle + 1 :], tokens[suffix + 1 : middle]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(texts=st.lists(TEXT, min_size=1, max_size=4), cursor=st.integers(0, 2**40))
def test_undoing_the_permutation_gives_the_documents_back(tokenizer, texts, cursor):
    tokens, documents = make_row(tokenizer, texts, length=2000)
    found, owners = make_transform(tokenizer).apply(tokens, documents, cursor)
    assert found.dtype == owners.dtype == np.int64
    assert len(found) == len(owners) == 2000
    for number, text in enumerate(texts):
        own = found[owners == number]
        assert own[-1] == tokenizer.end_of_document_id
        pieces = undo(tokenizer, own[:-1])
        if text == "":
            assert pieces is None
            assert len(own) == 1
            continue
        _, *parts = pieces
        assert "".join(tokenizer.decode_bytes(part).decode() for part in parts) == text
    is_padding = owners == -1
    assert (found[is_padding] == tokenizer.end_of_document_id).all()
    assert (np.diff(is_padding.astype(int)) >= 0).all()


@pytest.mark.parametrize("spm_rate", [0.0, 1.0])
def test_pieces_are_those_of_the_draws(tokenizer, spm_rate):
    """The definition again, in text, from the same random words."""
    text = "abab ab\n\u4e2d ba" * 9
    end = tokenizer.end_of_document_id
    tokens, documents = make_row(tokenizer, [text], length=300)
    mark = find_sentinels(tokenizer)
    key = source_key(1, "fill-in-the-middle of code")
    num_inside = 0
    for cursor in range(40):
        words = np.random.Philox(key=[key, cursor]).random_raw(4)
        a, b = sorted(int(word) * (len(text) + 1) // 2**64 for word in words[1:3])
        prefix, middle, suffix = (
            ids.tolist() for ids in tokenizer.encode_batch([text[:a], text[a:b], text[b:]])
        )
        expected = (
            [mark.prefix, mark.suffix, *suffix, mark.middle, *prefix, *middle, end]
            if spm_rate
            else [mark.prefix, *prefix, mark.suffix, *suffix, mark.middle, *middle, end]
        )
        found = make_transform(tokenizer, spm_rate=spm_rate).apply(tokens, documents, cursor)
        own = found.tokens[found.documents == 0]
        assert own.tolist() == expected
        num_inside += len(prefix) + len(middle) + len(suffix) > len(
            tokenizer.encode_batch([text])[0]
        )
    assert num_inside > 10, "cuts inside of tokens"


def test_rates_are_those_asked_for(tokenizer):
    texts = ["ab ab ab " * 20] * 20  # long: of an empty prefix SPM and PSM are the same
    tokens, documents = make_row(tokenizer, texts, length=2500)
    transform = make_transform(tokenizer, rate=0.3, spm_rate=0.8)
    kinds = []
    for cursor in range(200):
        found, owners = transform.apply(tokens, documents, cursor)
        kinds += [undo(tokenizer, found[owners == number][:-1]) for number in range(20)]
    done = [kind[0] for kind in kinds if kind is not None]
    # Three standard deviations of a binomial share.
    assert abs(len(done) / 4000 - 0.3) < 3 * (0.3 * 0.7 / 4000) ** 0.5
    assert abs(done.count("SPM") / len(done) - 0.8) < 3 * (0.8 * 0.2 / len(done)) ** 0.5


def test_a_sample_keeps_its_length_and_loses_its_end(tokenizer):
    tokens, documents = make_row(tokenizer, ["ab ab ab " * 8, "ba\n" * 9], length=200)
    full = make_transform(tokenizer).apply(tokens, documents, 3)
    used = int((documents >= 0).sum())
    cut = make_transform(tokenizer).apply(tokens[:used], documents[:used], 3)
    assert len(cut.tokens) == used < (full.documents >= 0).sum()
    np.testing.assert_array_equal(cut.tokens, full.tokens[:used])
    np.testing.assert_array_equal(cut.documents, full.documents[:used])


def test_parts_that_borders_cut_are_transformed_and_half_characters_left_out(tokenizer):
    (ids,) = tokenizer.encode_batch(["\u4e2dab ab ab\U0001f600"])
    tokens = ids[1:-2].astype(np.int64)  # cuts both characters
    assert tokenizer.decode_bytes(tokens).startswith(b"\xb8\xadab")
    room = np.append(tokens, np.full(20, tokenizer.end_of_document_id))
    owners = np.append(np.full(len(tokens), 7), np.full(20, -1))
    found, owners = make_transform(tokenizer, spm_rate=0.0).apply(room, owners, 0)
    own = found[owners == 7]
    assert tokenizer.end_of_document_id not in own, "the document goes on in another sample"
    _, *parts = undo(tokenizer, own)
    assert "".join(tokenizer.decode_bytes(part).decode() for part in parts) == "ab ab ab"


def test_depends_on_seed_source_and_cursor_alone(tokenizer):
    tokens, documents = make_row(tokenizer, ["ab ab ab " * 8], length=200)
    first = make_transform(tokenizer)
    expected = first.apply(tokens, documents, 5).tokens
    first.apply(tokens, documents, 6)
    np.testing.assert_array_equal(first.apply(tokens, documents, 5).tokens, expected)
    np.testing.assert_array_equal(
        make_transform(tokenizer).apply(tokens, documents, 5).tokens, expected
    )
    for other, cursor in [
        (first, 6),
        (make_transform(tokenizer, seed=2), 5),
        (make_transform(tokenizer, source="text"), 5),
    ]:
        assert not np.array_equal(other.apply(tokens, documents, cursor).tokens, expected)


@pytest.mark.parametrize("style", ["<|fim_{}|>", "<fim_{}>", "<fim-{}>"])
def test_finds_the_sentinels_of_each_style(tmp_path_factory, style):
    names = [style.format(piece) for piece in ("middle", "prefix", "suffix")]
    tokenizer = make_tokenizer(tmp_path_factory, *names)
    record = {
        entry["content"]: entry["id"] for entry in json.loads(tokenizer.content)["added_tokens"]
    }
    mark = find_sentinels(tokenizer)
    assert mark._asdict() == {name.split("fim")[1].strip("_-|>"): record[name] for name in names}


def test_refuses_a_tokenizer_without_all_sentinels(tmp_path_factory):
    tokenizer = make_tokenizer(tmp_path_factory, "<fim_prefix>", "<fim_middle>", "<fim-suffix>")
    with pytest.raises(DataError, match=r"<\|fim_prefix\|>.*--fill-in-the-middle` trains one"):
        make_transform(tokenizer)
