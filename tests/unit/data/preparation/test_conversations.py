"""Conversations to shards: tokens and answers beside those of `transformers`."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from megatron_codemix.cli.main import main
from megatron_codemix.corpus.instructions.template import (
    CHATML,
    CHATML_TOKENS,
    PLAIN,
    TEMPLATES,
    ChatTemplate,
)
from megatron_codemix.data.preparation.blocks import Part
from megatron_codemix.data.preparation.conversations import (
    ConversationEncoder,
    choose_template,
    unflagged,
)
from megatron_codemix.data.preparation.prepare import prepare_corpus
from megatron_codemix.data.preparation.sorted_shards import merge_parts
from megatron_codemix.data.shards.describe import describe_shard, suffixes_to_write
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.merge import merge_shards
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.shards.verify import verify_shards
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.files import read_jsonl, rewrite_jsonl
from tests.helpers import tiny
from tests.helpers.conversations import (
    END,
    random_chats,
    transformers_tokenizer,
    transformers_tokens,
    write_conversations,
    write_merging_tokenizer,
)

TOKENIZERS: dict[str, dict[str, bool]] = {
    "words": {},
    "over words": {"splits_words": False},
    "composing": {"composes": True},
    "composing over words": {"splits_words": False, "composes": True},
}
"""Options of write_merging_tokenizer."""


def encoded(
    tokenizer: Tokenizer, template: ChatTemplate, chats: list[list[dict[str, str]]]
) -> list[tuple[list[int], list[int]]]:
    """(tokens, learned) of each conversation."""
    encoder = ConversationEncoder(tokenizer, template)
    rendered = [encoder.render({"metadata": {"messages": chat}}, lambda: "here") for chat in chats]
    flagged, lengths = encoder.encode(rendered)
    tokens, learned = unflagged(flagged)
    ends = np.cumsum(lengths)[:-1]
    pairs = zip(np.split(tokens, ends), np.split(learned, ends), strict=True)
    return [(one.tolist(), other.astype(int).tolist()) for one, other in pairs]


@pytest.mark.parametrize("template", [PLAIN, CHATML], ids=lambda one: one.name)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokens_and_answers_are_those_of_transformers(
    tmp_path: Path, kind: str, template: ChatTemplate
) -> None:
    path = tmp_path / "tokenizer.json"
    write_merging_tokenizer(path, **TOKENIZERS[kind])
    theirs = transformers_tokenizer(path, template)
    ours = Tokenizer.load(path)
    chats = random_chats(150, seed=1)
    num_over_edges = 0
    for chat, (tokens, learned) in zip(chats, encoded(ours, template, chats), strict=True):
        wanted, mask = transformers_tokens(theirs, chat)
        assert tokens == [*wanted, ours.end_of_document_id]
        assert learned == [*mask, 1]
        answers = _runs(ours, tokens[:-1], learned[:-1])
        num_over_edges += any(text[:1] not in " \n" for text in answers if template is PLAIN)
    # The prompt ends with a colon: a token that begins with it lies over the edge.
    assert (num_over_edges > 0) == ("over words" in kind and template is PLAIN)


def _runs(tokenizer: Tokenizer, tokens: list[int], learned: list[int]) -> list[str]:
    """Text of each run of learned tokens."""
    borders = np.flatnonzero(np.diff([0, *learned, 0]))
    return [tokenizer.decode(tokens[a:b]) for a, b in borders.reshape(-1, 2).tolist()]


def test_a_token_over_the_edge_of_an_answer_is_learned(tmp_path: Path) -> None:
    """By hand: the vocabulary has ': A' and '\\nUs', which no answer has for itself."""
    path = tmp_path / "tokenizer.json"
    tiny.write_tokenizer(path)
    record = json.loads(path.read_text())
    merges = [(":", "\u0120"), (":\u0120", "A"), ("\u010a", "U"), ("\u010aU", "s")]
    for number, (one, other) in enumerate(merges):
        record["model"]["vocab"] |= {END: 256, one + other: 257 + number}
    record["model"]["merges"] = [list(pair) for pair in merges]
    record["pre_tokenizer"]["use_regex"] = False
    path.write_text(json.dumps(record))
    tokenizer = Tokenizer.load(path)
    chat = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "Ab"},
        {"role": "user", "content": "r"},
        {"role": "assistant", "content": "cd"},
    ]
    [(tokens, learned)] = encoded(tokenizer, PLAIN, [chat])
    shown = [tokenizer.decode([token]) for token in tokens]
    marked = [text for text, is_learned in zip(shown, learned, strict=True) if is_learned]
    assert marked == [": A", "b", "\nUs", ": ", "c", "d", "\n", END]
    assert "".join(shown) == "User: q\nAssistant: Ab\nUser: r\nAssistant: cd\n" + END


@pytest.mark.parametrize("template", [PLAIN, CHATML], ids=lambda one: one.name)
def test_special_tokens_that_messages_spell_stay_text(
    tmp_path: Path, template: ChatTemplate
) -> None:
    path = tmp_path / "tokenizer.json"
    write_merging_tokenizer(path)
    tokenizer = Tokenizer.load(path)
    special = {tokenizer.token_id(token) for token in (*CHATML_TOKENS, END)}
    chats = random_chats(60, spelled=[*CHATML_TOKENS, END])
    assert any("<|im_end|>" in one["content"] for chat in chats for one in chat)
    for chat, (tokens, _) in zip(chats, encoded(tokenizer, template, chats), strict=True):
        num_special = sum(token in special for token in tokens)
        assert num_special == 1 + (2 * len(chat) if template is CHATML else 0)
        wanted = transformers_tokenizer(path, template).apply_chat_template(chat, tokenize=False)
        assert tokenizer.decode(tokens) == wanted + END


@pytest.fixture(scope="module")
def chats() -> list[list[dict[str, str]]]:
    return random_chats(120, seed=4)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, chats: list[list[dict[str, str]]]) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_conversations(folder / "corpus", "chats", chats)
    (folder / "corpus" / "prose.jsonl").write_text(
        "".join(json.dumps({"text": f"Some words, {n}.", "id": n}) + "\n" for n in range(50))
    )
    write_merging_tokenizer(folder / "tokenizer.json")
    return folder


def prepare(corpus: Path, out: Path, **options: Any) -> Path:
    asked = {"validation_fraction": 0.2, "block_bytes": 4_000, **options}
    tokenizer = asked.pop("tokenizer", corpus / "tokenizer.json")
    prepare_corpus(corpus / "corpus", tokenizer, out, **asked)
    return out


@pytest.mark.parametrize(("asked", "template"), [("auto", CHATML), ("plain", PLAIN)])
def test_shards_hold_what_transformers_renders(
    tmp_path: Path,
    corpus: Path,
    chats: list[list[dict[str, str]]],
    asked: str,
    template: ChatTemplate,
) -> None:
    out = prepare(corpus, tmp_path / "out", chat_template=asked)
    theirs = transformers_tokenizer(corpus / "tokenizer.json", template)
    seen = []
    for split in ("train", "validation"):
        prefix = out / f"chats.{split}"
        shard, lines = TokenShard.open(prefix), read_jsonl(shard_file(prefix, ".documents.jsonl"))
        assert shard.answers is not None
        assert shard.manifest.answers is not None
        assert shard.manifest.answers.chat_template == template
        assert shard.manifest.answers.template_sha256 == template.hash
        learned = shard.answers.between(0, shard.num_tokens)
        assert shard.manifest.answers.num_learned == learned.sum()
        for number, line in enumerate(lines):
            chat = chats[int(line["id"])]
            wanted, mask = transformers_tokens(theirs, chat)
            assert shard.document(number).tolist() == [*wanted, theirs.eos_token_id]
            first, length = (int(bound[0]) for bound in shard.document_bounds(np.array([number])))
            assert learned[first : first + length].tolist() == [*map(bool, mask), True]
            text = theirs.apply_chat_template(chat, tokenize=False)
            assert line["bytes"] == len(text.encode())
            seen.append(int(line["id"]))
        counts = shard.answers.count(shard.offsets, shard.lengths)
        sums = np.add.reduceat(learned, shard.offsets)
        np.testing.assert_array_equal(counts, sums)
        places = np.random.default_rng(0).integers(0, shard.num_tokens, 500)
        np.testing.assert_array_equal(shard.answers.of(places), learned[places])
    assert sorted(seen) == list(range(120))
    assert TokenShard.open(out / "prose.train").answers is None
    assert not (out / "prose.train.answers").exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_workers_parts_and_reruns_give_the_bytes_of_one_process(
    tmp_path: Path, corpus: Path
) -> None:
    one = contents(prepare(corpus, tmp_path / "one"))
    assert "chats.train.answers" in one
    assert contents(prepare(corpus, tmp_path / "one")) == one
    assert contents(prepare(corpus, tmp_path / "two", num_workers=2)) == one
    for number in (1, 0):
        prepare(corpus, tmp_path / "parts", part=Part(number, 2))
    merge_parts(tmp_path / "parts")
    assert contents(tmp_path / "parts") == one
    # Another template makes the conversations anew, and nothing else.
    other = contents(prepare(corpus, tmp_path / "one", chat_template="plain"))
    assert {name for name in one if one[name] != other[name]} == {
        name for name in one if name.startswith("chats.")
    }


def test_joined_shards_keep_their_answers(tmp_path: Path, corpus: Path) -> None:
    out = prepare(corpus, tmp_path / "out")
    parts = [out / "chats.validation", out / "chats.validation"]
    shutil.copytree(out, tmp_path / "copy")
    parts[1] = tmp_path / "copy" / "chats.validation"
    merge_shards(parts, tmp_path / "joined", advance=lambda num_bytes: None)
    one, joined = TokenShard.open(parts[0]), TokenShard.open(tmp_path / "joined")
    assert one.answers is not None
    assert joined.answers is not None
    assert one.num_tokens % 8, "the second does not begin with a byte"
    learned = one.answers.between(0, one.num_tokens)
    found = joined.answers.between(0, joined.num_tokens)
    np.testing.assert_array_equal(found, np.concatenate([learned, learned]))
    assert joined.manifest.answers is not None
    assert joined.manifest.answers.num_learned == 2 * learned.sum()
    assert verify_shards([tmp_path / "joined"], lambda blocks: None)[0].problems == []
    plain = prepare(corpus, tmp_path / "plain", chat_template="plain")
    with pytest.raises(DataError, match=r"differ in their chat template: .* chatml, .* plain"):
        merge_shards(
            [parts[0], plain / "chats.validation"], tmp_path / "x", advance=lambda num_bytes: None
        )


def test_a_changed_bit_is_found_by_whoever_touches_it(tmp_path: Path, corpus: Path) -> None:
    prefix = prepare(corpus, tmp_path / "out") / "chats.train"
    path = shard_file(prefix, ".answers")
    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0] ^ 4]) + whole[1:])
    [found] = verify_shards([prefix], lambda blocks: None)
    assert any("chats.train.answers: block 0" in problem for problem in found.problems)
    answers = TokenShard.open(prefix).answers
    assert answers is not None
    with pytest.raises(DataError, match=r"chats.train.answers: block 0 .* has changed"):
        answers.of(np.array([3]))
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"chats.train.answers: .* expected by the manifest"):
        TokenShard.open(prefix)
    path.unlink()
    with pytest.raises(DataError, match=r"chats.train.answers: is missing"):
        TokenShard.open(prefix)


def test_conversations_and_other_documents_are_not_mixed(tmp_path: Path, corpus: Path) -> None:
    chat = {"metadata": {"messages": random_chats(1)[0]}}
    for name, records in {"chats": [chat, {"text": "y"}], "prose": [{"text": "y"}, chat]}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "mixed.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
        with pytest.raises(
            DataError, match=r"at 2:? is .*put conversations .*into sources of their own"
        ):
            prepare_corpus(
                folder, corpus / "tokenizer.json", tmp_path / "out", validation_fraction=0
            )


def test_a_text_that_a_stage_has_changed_is_refused(tmp_path: Path, corpus: Path) -> None:
    """Its conversation would bring back what was masked in it."""
    write_conversations(tmp_path / "corpus", "chats", random_chats(5))
    path = tmp_path / "corpus" / "chats.jsonl.zst"
    content = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    records = [json.loads(line) for line in content.splitlines()]
    records[3]["text"] = records[3]["text"].replace("User", "<NAME>")
    path.unlink()
    (tmp_path / "corpus" / "corpus.json").unlink()
    rewrite_jsonl(tmp_path / "corpus" / "chats.jsonl", records)
    with pytest.raises(DataError, match="its text is not that of its messages any more"):
        prepare_corpus(
            tmp_path / "corpus", corpus / "tokenizer.json", tmp_path / "out", validation_fraction=0
        )


def test_stages_keep_conversations(tmp_path: Path, corpus: Path) -> None:
    """What a stage writes in parts is prepared to the same shard."""
    sides = tmp_path / "sides"
    assert main(["corpus", "split", str(corpus / "corpus"), "--out", str(sides),
                 "--validation-fraction", "0.2"]) == 0  # fmt: skip
    options = {"validation_fraction": 0, "sources": ["chats"]}
    prepare_corpus(sides / "train", corpus / "tokenizer.json", tmp_path / "parts", **options)
    whole = prepare(corpus, tmp_path / "whole", sources=["chats"])
    for suffix in (".bin", ".idx", ".answers"):
        one, other = (
            shard_file(folder / "chats.train", suffix) for folder in (tmp_path / "parts", whole)
        )
        assert one.read_bytes() == other.read_bytes()


def test_a_conversation_without_an_answer_is_refused_where_it_stands(
    tmp_path: Path, corpus: Path
) -> None:
    record = {"text": "x", "metadata": {"messages": random_chats(1)[0][:1]}}
    good = {"metadata": {"messages": random_chats(1)[0]}}
    lines = [json.dumps(one) for one in (good, good, record)]
    (tmp_path / "a.jsonl").write_text("\n\n".join(lines) + "\n")  # empty lines are counted
    with pytest.raises(DataError, match=r"a.jsonl: the record at 5: metadata.messages: no answer"):
        prepare_corpus(tmp_path, corpus / "tokenizer.json", tmp_path / "out", validation_fraction=0)


def test_the_template_is_the_tokenizers_own_or_what_it_has_tokens_for(tmp_path: Path) -> None:
    with_tokens, without = tmp_path / "a" / "tokenizer.json", tmp_path / "b" / "tokenizer.json"
    write_merging_tokenizer(with_tokens)
    without.parent.mkdir()
    tiny.write_tokenizer(without)
    assert choose_template("auto", Tokenizer.load(with_tokens)) == CHATML
    assert choose_template("auto", Tokenizer.load(without)) == PLAIN
    assert choose_template("plain", Tokenizer.load(with_tokens)) == PLAIN
    with pytest.raises(DataError, match=r"no special token <\|im_end\|> and <\|im_start\|>"):
        choose_template("chatml", Tokenizer.load(without))
    own = TEMPLATES["plain"].source.replace("Assistant", "Bot")
    (tmp_path / "b" / "chat_template.jinja").write_text(own)
    assert choose_template("auto", Tokenizer.load(without)).source == own
    with pytest.raises(DataError, match="cannot be read"):
        choose_template("chatlm", Tokenizer.load(without))


def test_a_template_must_not_end_documents_and_must_have_something_to_render(
    tmp_path: Path, corpus: Path
) -> None:
    path = tmp_path / "ends.jinja"
    path.write_text(PLAIN.source + "{{ eos_token }}")
    with pytest.raises(DataError, match=r"ends.jinja: writes <\|endoftext\|>, which stands"):
        prepare(corpus, tmp_path / "out", chat_template=str(path))
    with pytest.raises(DataError, match="no source holds conversations"):
        prepare(corpus, tmp_path / "out", chat_template="plain", sources=["prose"])


def test_a_manifest_is_not_written_anew_without_its_answers(tmp_path: Path, corpus: Path) -> None:
    prefix = prepare(corpus, tmp_path / "out") / "chats.train"
    tokenizer = Tokenizer.load(corpus / "tokenizer.json")
    before = shard_file(prefix, ".manifest.json").read_bytes()

    def describe(**options: bool) -> Manifest:
        return describe_shard(prefix, tokenizer, "chats", "train", lambda size: None, **options)

    assert describe().answers is not None
    with pytest.raises(DataError, match="whose manifest only `codemix data prepare` writes"):
        describe(is_replacing=True)
    assert shard_file(prefix, ".manifest.json").read_bytes() == before
    shard_file(prefix, ".manifest.json").unlink()
    with pytest.raises(DataError, match="make the shard of conversations again with `codemix data"):
        TokenShard.open(prefix)
    for damaged in (None, "[]", before.decode().replace('"chats"', '"prose"')):
        if damaged is not None:
            shard_file(prefix, ".manifest.json").write_text(damaged)
            with pytest.raises(DataError, match="or make the shard of conversations again with"):
                Manifest.load(shard_file(prefix, ".manifest.json"), remedy="codemix data manifest")
        for look in (describe, lambda: suffixes_to_write(prefix, tokenizer, "chats", "train")):
            with pytest.raises(DataError, match=r"chats.train.answers: is of a shard of conv"):
                look()
    prepare(corpus, tmp_path / "out")
    assert shard_file(prefix, ".manifest.json").read_bytes() == before
    shard_file(prefix, ".manifest.json").unlink()
    shard_file(prefix, ".answers").unlink()
    assert describe().answers is None


def test_prepare_says_its_template_and_how_much_is_learned(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = ["data", "prepare", str(corpus / "corpus"), "--out", str(out)]
    asked += ["--tokenizer", str(corpus / "tokenizer.json")]
    assert main([*asked, "--shard", "1/1"]) == 0
    said = capsys.readouterr().out
    shard = TokenShard.open(out / "chats.train")
    assert shard.answers is not None
    learned = int(shard.answers.between(0, shard.num_tokens).sum())
    assert said.count("chat template chatml: ") == 2  # of two splits; of prose there is none
    share = f"{100 * learned / shard.num_tokens:.0f}%"
    words = f"chat template chatml: {learned} tokens ({share}) are answers"
    assert words in said
    assert main([*asked, "--json"]) == 0
    shards = json.loads(capsys.readouterr().out)["shards"]
    assert shards["chats"]["train"]["answers"] == {
        "template": "chatml", "template_sha256": CHATML.hash, "num_learned": learned
    }  # fmt: skip
    assert "answers" not in shards["prose"]["train"]
    parts = [*asked[:3], "--out", str(tmp_path / "parts"), *asked[5:]]
    for number in (1, 2):
        assert main([*parts, "--shard", f"{number}/2"]) == 0
    capsys.readouterr()
    assert main(["data", "merge", str(tmp_path / "parts")]) == 0
    assert words in capsys.readouterr().out


def test_inspect_shows_answers_and_what_packing_cuts(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = prepare(corpus, tmp_path / "out") / "chats.train"
    assert main(["data", "inspect", str(prefix), "--sequence-length", "64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shard = TokenShard.open(prefix)
    assert shard.answers is not None
    assert found["num_cut_conversations"] == np.count_nonzero(shard.lengths > 64) > 0
    firsts = [
        int(np.flatnonzero(shard.answers.between(start, start + length))[0])
        for start, length in zip(shard.offsets.tolist(), shard.lengths.tolist(), strict=True)
    ]
    assert found["num_unanswered_conversations"] == np.count_nonzero(np.array(firsts) >= 64)
    assert found["manifest"]["answers"]["template"] == "chatml"
    assert main(["data", "inspect", str(prefix)]) == 0
    assert f"{found['manifest']['answers']['num_learned']} tokens" in capsys.readouterr().out
