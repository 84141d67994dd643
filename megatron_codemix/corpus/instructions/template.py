"""Chat templates: a conversation as the text that a model reads, and where its answers are in it.

A template is Jinja, as `transformers` renders it: what stands in `{% generation %}` is what the
assistant writes. Everything that the model has to write itself belongs there, from the first
character after the generation prompt to the end of the turn.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from megatron_codemix.errors import DataError
from megatron_codemix.runs import CHAT_TEMPLATE

Message = Mapping[str, str]
"""`role` and `content`."""

CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")

_PLAIN = """\
{%- set names = {'system': 'System', 'developer': 'System', 'user': 'User'} -%}
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
Assistant:{% generation %}{{ ' ' + message['content'] + '\\n' }}{% endgeneration %}
{%- else -%}
{{ names[message['role']] + ': ' + message['content'] + '\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}Assistant:{%- endif -%}
"""
_CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' -%}
{% generation %}{{ message['content'] + '<|im_end|>\\n' }}{% endgeneration %}
{%- else -%}
{{ message['content'] + '<|im_end|>\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
_IS_MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")

# Three of Unicode's noncharacters, which no text is to hold that programs exchange.
_START, _STOP, _BREAK = "\ufdd0", "\ufdd1", "\ufdd2"
_RESERVED = re.compile("[\ufdd0-\ufdd2]")


class RenderedChat(NamedTuple):
    """Text of a conversation. Places are [start, stop) in characters, in order."""

    text: str
    answers: list[tuple[int, int]]
    """What the assistant writes."""
    tokens: list[tuple[int, int]]
    """Special tokens that the template has put; where a message spells one, it is ordinary text."""


@dataclass(frozen=True)
class ChatTemplate:
    """Jinja source under the name that people know it by."""

    name: str
    source: str

    @cached_property
    def hash(self) -> str:
        """sha256 of the source."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def marks_answers(self) -> bool:
        """Whether it says what the assistant writes."""
        return bool(_IS_MARKED.search(self.source))


PLAIN = ChatTemplate("plain", _PLAIN)
"""`User: ...` and `Assistant: ...` on lines of their own: needs no special token."""
CHATML = ChatTemplate("chatml", _CHATML)
"""Turns between `<|im_start|>` and `<|im_end|>`, which must be special tokens of the tokenizer."""
TEMPLATES = {template.name: template for template in (PLAIN, CHATML)}


def load_template(path: Path) -> ChatTemplate:
    """A template of the user's, named after its file. Raises DataError: absent, not UTF-8, no mark
    of what the assistant writes, not a template."""
    try:
        source = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8, so no chat template") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); a chat template is {', '.join(TEMPLATES)} "
            "or a file in Jinja"
        ) from error
    template = ChatTemplate(path.name, source)
    if not template.marks_answers:
        raise DataError(
            f"{path}: does not mark what the assistant writes, so no answer can be told from the "
            "rest; put {% generation %} and {% endgeneration %} around it"
        )
    ChatRenderer(template)
    return template


def tokenizers_template(tokenizer: Path) -> ChatTemplate | None:
    """The template that stands beside a tokenizer.json, as in Hugging Face's folders; None where
    there is none. Raises DataError."""
    path = tokenizer.with_name(CHAT_TEMPLATE)
    return load_template(path) if path.exists() else None


class ChatRenderer:
    """Renders conversations by one template."""

    def __init__(
        self,
        template: ChatTemplate,
        special_tokens: Sequence[str] = (),
        end_of_document: str | None = None,
    ) -> None:
        """special_tokens: that stand for themselves where the template writes them.
        end_of_document: what the template knows as `bos_token` and `eos_token`.
        Raises DataError where the source is no template."""
        self.template = template
        self._tokens = _any_of(special_tokens)
        self._render = _compiled(template)
        ends = {"bos_token": end_of_document, "eos_token": end_of_document}
        self._names = {name: token for name, token in ends.items() if token is not None}

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False
    ) -> RenderedChat:
        """Text of the messages; add_generation_prompt: with the beginning of an answer behind it.

        Raises DataError: a template that refuses the conversation, a message with one of the
        characters U+FDD0 to U+FDD2, which Unicode keeps free for such uses as this one.
        """
        for number, message in enumerate(messages):
            content = message["content"]
            if not content.isascii() and (found := _RESERVED.search(content)):
                raise DataError(
                    f"messages.{number}: has the noncharacter U+{ord(found[0]):04X}, which no text "
                    "may hold; take it out"
                )
        safe = [{**one, "content": self._broken(one["content"])} for one in messages]
        marked = self._render(
            messages=safe, add_generation_prompt=add_generation_prompt, **self._names
        )
        return self._unmarked(marked)

    def frame(self) -> tuple[str, str]:
        """What the model writes around its answer: (" ", "\n") by the plain template."""
        said = "x"
        turns = [{"role": "user", "content": said}, {"role": "assistant", "content": said}]
        chat = self.render(turns)
        start, stop = chat.answers[-1]
        before, _, after = chat.text[start:stop].rpartition(said)
        return before, after

    def _broken(self, text: str) -> str:
        """No special token is in it any more: each has a mark behind its first character."""
        places: list[int] = []
        while found := self._tokens.search(text, places[-1] if places else 0):
            places.append(found.start() + 1)
        cuts = [0, *places, len(text)]
        return _BREAK.join(text[a:b] for a, b in pairwise(cuts))

    def _unmarked(self, marked: str) -> RenderedChat:
        """Places of marks and of whole special tokens, as they are once the marks are gone."""
        before = [found.start() for found in _RESERVED.finditer(marked)]
        starts, stops = (
            [place - count for count, place in enumerate(before) if marked[place] == mark]
            for mark in (_START, _STOP)
        )
        tokens: list[tuple[int, int]] = []
        count = 0
        for found in self._tokens.finditer(marked):
            while count < len(before) and before[count] < found.start():
                count += 1
            tokens.append((found.start() - count, found.end() - count))
        answers = [(a, b) for a, b in zip(starts, stops, strict=True) if a < b]
        return RenderedChat(_RESERVED.sub("", marked), answers, tokens)


def _any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    """The longest of those that begin at a place. One of a single character cannot be told from
    text and is taken for it."""
    longest_first = sorted(
        (t for t in tokens if len(t) > 1), key=lambda token: (-len(token), token)
    )
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _compiled(template: ChatTemplate) -> Callable[..., str]:
    """The environment is that of `transformers`, so that the same source gives the same text."""
    import jinja2  # 40 ms, and only where conversations are rendered
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        """Puts marks around what the assistant writes."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:  # Any: jinja2's parser and nodes, as its API has them
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            call = self.call_method("_marked")
            return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

        def _marked(self, caller: Callable[[], str]) -> str:
            return f"{_START}{caller()}{_STOP}"

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.globals["raise_exception"] = refuse
    try:
        compiled = environment.from_string(template.source)
    except jinja2.TemplateError as error:
        raise DataError(f"chat template {template.name}: is not a template ({error})") from error

    def render(**names: Any) -> str:  # Any: what a template is given
        try:
            return compiled.render(**names)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            reason = f"chat template {template.name}: does not take the conversation ({error})"
            raise DataError(reason) from error

    return render
