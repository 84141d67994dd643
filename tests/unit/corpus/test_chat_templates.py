"""Chat templates: the text is what `transformers` renders, the answers are where it has them."""

from pathlib import Path

import pytest

from megatron_codemix.corpus.instructions.template import (
    CHATML,
    CHATML_TOKENS,
    PLAIN,
    ChatRenderer,
    ChatTemplate,
    load_template,
    tokenizers_template,
)
from megatron_codemix.errors import DataError
from tests.helpers.conversations import (
    END,
    random_chats,
    transformers_tokenizer,
    write_merging_tokenizer,
)

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Two and two?"},
    {"role": "assistant", "content": "Four."},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Yes"},
]
# One that other people's templates look like: names of its own, blocks on lines of their own.
FOREIGN = ChatTemplate(
    "foreign",
    """{% for m in messages %}
{% if m['role'] == 'assistant' %}
    ### Answer
    {% generation %}
{{ m['content'] | trim }}
    {% endgeneration %}
{% else %}
### {{ m['role'] | title }}
{{ m['content'] }}
{% endif %}
{% endfor %}
""",
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_merging_tokenizer(path)
    return path


def test_plain_reads_like_a_dialogue_and_answers_end_with_their_line() -> None:
    chat = ChatRenderer(PLAIN).render(CHAT)
    assert chat.text == (
        "System: Be brief.\nUser: Two and two?\nAssistant: Four.\nUser: Sure?\nAssistant: Yes\n"
    )
    assert [chat.text[a:b] for a, b in chat.answers] == [" Four.\n", " Yes\n"]
    assert chat.tokens == []


def test_chatml_has_its_special_tokens_and_answers_end_with_one() -> None:
    chat = ChatRenderer(CHATML, CHATML_TOKENS).render(CHAT)
    assert chat.text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nTwo")
    answers = [chat.text[a:b] for a, b in chat.answers]
    assert answers == ["Four.<|im_end|>\n", "Yes<|im_end|>\n"]
    assert [chat.text[a:b] for a, b in chat.tokens] == [*CHATML_TOKENS] * 5


@pytest.mark.parametrize("template", [PLAIN, CHATML, FOREIGN], ids=lambda one: one.name)
def test_the_text_is_that_of_transformers(tokenizer: Path, template: ChatTemplate) -> None:
    theirs = transformers_tokenizer(tokenizer, template)
    ours = ChatRenderer(template, CHATML_TOKENS, END)
    for chat in random_chats(200, spelled=[*CHATML_TOKENS, END]):
        assert ours.render(chat).text == theirs.apply_chat_template(chat, tokenize=False)
        asked = chat[:-1]
        assert ours.render(asked, add_generation_prompt=True).text == theirs.apply_chat_template(
            asked, tokenize=False, add_generation_prompt=True
        )


@pytest.mark.parametrize("template", [PLAIN, CHATML], ids=lambda one: one.name)
def test_an_answer_begins_where_the_prompt_for_it_ends(template: ChatTemplate) -> None:
    """So that a model writes just what it has learned to write."""
    renderer = ChatRenderer(template, CHATML_TOKENS)
    for chat in random_chats(100):
        rendered = renderer.render(chat)
        for number, (start, stop) in enumerate(rendered.answers):
            asked = [place for place, one in enumerate(chat) if one["role"] == "assistant"][number]
            prompt = renderer.render(chat[:asked], add_generation_prompt=True)
            assert rendered.text[:start] == prompt.text
            assert rendered.text[:stop] == renderer.render(chat[: asked + 1]).text


def test_what_a_message_spells_is_no_special_token() -> None:
    tokens = ("<|a|>", "|><|", "<|a|><|b|>", "x")
    template = ChatTemplate(
        "t", "{% for m in messages %}<|a|>{% generation %}{{ m['content'] }}{% endgeneration %}"
        "|><|{% endfor %}"
    )  # fmt: skip
    said = "<|a|><|a|><|b|> |><||><| <<|a|>x"
    chat = ChatRenderer(template, tokens).render([{"role": "assistant", "content": said}] * 2)
    assert chat.text == f"<|a|>{said}|><|" * 2
    length = len(said) + 9
    wanted = [(0, 5), (length - 4, length), (length, length + 5), (2 * length - 4, 2 * length)]
    assert chat.tokens == wanted
    assert chat.answers == [(5, 5 + len(said)), (length + 5, length + 5 + len(said))]


def test_noncharacters_are_refused() -> None:
    with pytest.raises(DataError, match=r"messages\.1: has the noncharacter U\+FDD1"):
        ChatRenderer(PLAIN).render([CHAT[1], {"role": "assistant", "content": "a\ufdd1"}])


def test_a_template_of_the_users_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "chat_template.jinja"
    assert tokenizers_template(tmp_path / "tokenizer.json") is None
    path.write_text(FOREIGN.source)
    found = tokenizers_template(tmp_path / "tokenizer.json")
    assert found is not None
    assert found.source == FOREIGN.source
    chat = ChatRenderer(found).render(CHAT)
    assert [chat.text[a:b] for a, b in chat.answers] == ["Four.\n", "Yes\n"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{{ messages }}", "does not mark what the assistant writes"),
        (b"{% generation %}{% if %}{% endgeneration %}", "is not a template"),
        (b"{% generation %}", "is not a template"),
        (b"\xff{% generation %}", "not UTF-8"),
    ],
)
def test_files_that_are_no_templates_are_refused(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "t.jinja"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem):
        load_template(path)
    with pytest.raises(DataError, match="cannot be read"):
        load_template(tmp_path / "absent.jinja")


@pytest.mark.parametrize(
    "source",
    [
        "{% generation %}{% endgeneration %}{{ raise_exception('roles must alternate') }}",
        "{% generation %}{% endgeneration %}{{ messages[0]['content'] + 1 }}",
        "{% generation %}{% endgeneration %}{{ messages.__class__.__mro__ }}",
    ],
)
def test_a_template_that_refuses_a_conversation_says_so(source: str) -> None:
    with pytest.raises(DataError, match="chat template t: does not take the conversation"):
        ChatRenderer(ChatTemplate("t", source)).render(CHAT)
