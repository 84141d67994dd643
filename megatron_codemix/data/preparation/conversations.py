"""Conversations to tokens that know whether they are learned.

**Which tokens.** A token is learned if any byte of it is the assistant's, so a token that lies
over the edge of an answer is (as `transformers`' assistant masks have it): left out, the first or
the last characters of an answer could not be learned at all. The end-of-document token stands
behind the last answer and is learned.

A special token is one where the template writes it; where a message spells it, it is ordinary text.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.document import MESSAGES
from megatron_codemix.corpus.instructions.chats import BadChatError, messages_of
from megatron_codemix.corpus.instructions.template import (
    CHATML,
    CHATML_TOKENS,
    PLAIN,
    TEMPLATES,
    ChatRenderer,
    ChatTemplate,
    Message,
    RenderedChat,
    load_template,
    tokenizers_template,
)
from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.data.preparation.fast_encoder import FastEncoder
from megatron_codemix.data.preparation.input_blocks import read_blocks
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError

METADATA = "metadata"
"""Field of a corpus's records with the conversation."""
FLAGGED = np.dtype(np.uint32)
"""Type of tokens that carry whether they are learned, in the highest bit: no token is so large."""
_FLAG = np.uint32(1 << 31)


class LearnedTokens(NamedTuple):
    """Both [tokens]."""

    tokens: npt.NDArray[np.uint32]
    learned: npt.NDArray[np.bool_]


def unflagged(flagged: npt.NDArray[np.uint32]) -> LearnedTokens:
    """What tokens of type FLAGGED say."""
    return LearnedTokens(flagged & ~_FLAG, (flagged & _FLAG) != 0)


def encode_chat(tokenizer: Tokenizer, chat: RenderedChat) -> list[int]:
    """Tokens of a rendered conversation, or of the prompt for an answer, as in training: special
    tokens are those of the template alone. Without an end."""
    pieces = _pieces(chat)
    texts = tokenizer.encode_batch([text for text, is_token in pieces if not is_token])
    encoded = iter(texts)
    tokens: list[int] = []
    for text, is_token in pieces:
        number = tokenizer.token_id(text) if is_token else None
        tokens += next(encoded).tolist() if number is None else [number]
    return tokens


def choose_template(name: str, tokenizer: Tokenizer) -> ChatTemplate:
    """The template of a tokenizer's conversations. name: `plain`, `chatml`, a file in Jinja, or
    `auto`: the tokenizer's own, else ChatML where it has its tokens, else plain.

    Raises DataError: no such template, or one whose tokens the tokenizer does not have.
    """
    if name == "auto":
        own = tokenizers_template(tokenizer.path)
        has_tokens = set(CHATML_TOKENS) <= set(tokenizer.special_tokens)
        return own or (CHATML if has_tokens else PLAIN)
    template = TEMPLATES.get(name) or load_template(Path(name))
    missing = sorted(set(CHATML_TOKENS) - set(tokenizer.special_tokens))
    if template == CHATML and missing:
        raise DataError(
            f"{tokenizer.path}: has no special token {' and '.join(missing)}, which the chat "
            "template chatml is made of; `codemix data tokenizer --chatml` trains a tokenizer that "
            "has, --chat-template plain needs none"
        )
    return template


def holds_conversations(files: Sequence[InputFile], block_bytes: int) -> bool:
    """Whether the first record of a source's files is a conversation. Raises DataError."""
    for file in files:
        for _, pieces in read_blocks(file, block_bytes, lambda block: True, (METADATA,)):
            for piece in pieces:
                for _, fields in piece.records:
                    if fields is not None:
                        return has_conversation(fields)
    return False


def has_conversation(fields: Mapping[str, Any]) -> bool:  # Any: JSON values
    """Whether the record is a conversation."""
    metadata = fields.get(METADATA)
    return isinstance(metadata, Mapping) and metadata.get(MESSAGES) is not None


class ConversationEncoder:
    """Renders conversations by one template and encodes them."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        """Raises DataError where the template is none."""
        self._tokenizer, self._template = tokenizer, template
        self._renderer = ChatRenderer(template, tokenizer.special_tokens, tokenizer.end_of_document)
        self._plain = ChatRenderer(PLAIN)
        # int32 holds every token; the ends of documents are put here.
        self._encoder = FastEncoder(tokenizer, dtype=np.int32, end_of_document=None)

    def render(self, fields: Mapping[str, Any], place: Callable[[], str]) -> RenderedChat:
        """The conversation of a record. Raises DataError that names the `place`: a record without
        one, one without an answer or whose text was changed, a template that ends documents
        itself."""
        if not has_conversation(fields):
            raise DataError(
                f"{place()}: is no conversation, and the first record of its source is one; put "
                "conversations and other documents into sources of their own"
            )
        try:
            messages = messages_of(fields[METADATA])
            self._require_its_text(fields, messages)
            chat = self._renderer.render(messages)
        except BadChatError as error:
            raise DataError(f"{place()}: {METADATA}.{MESSAGES}: {error}") from error
        except DataError as error:
            raise DataError(f"{place()}: {error}") from error
        end = self._tokenizer.end_of_document
        if any(chat.text[start:stop] == end for start, stop in chat.tokens):
            raise DataError(
                f"chat template {self._template.name}: writes {end}, which stands between "
                "documents and is put there anyway; take it (bos_token, eos_token) out"
            )
        return chat

    def _require_its_text(self, fields: Mapping[str, Any], messages: Sequence[Message]) -> None:
        """A stage that masks or repairs texts does not reach the conversations behind them."""
        text = fields.get("text")
        if isinstance(text, str) and text != self._plain.render(messages).text:
            raise DataError(
                "its text is not that of its messages any more: some stage has changed the one and "
                "not the other; leave out what changes texts, or do it before `codemix corpus "
                "instructions`"
            )

    def prove(self, source: str, chats: Sequence[RenderedChat]) -> None:
        """See FastEncoder.prove."""
        self._encoder.prove(source, (chat.text for chat in chats))

    def encode(
        self, chats: Sequence[RenderedChat]
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
        """(tokens of type FLAGGED of all chats, tokens of each), each ended."""
        pieces = [_pieces(chat) for chat in chats]
        texts = [text for of_chat in pieces for text, is_token in of_chat if not is_token]
        tokens, lengths = self._encoder.encode(texts)
        ends = np.cumsum(lengths, dtype=np.int64)
        encoded = iter(np.split(tokens, ends[:-1]) if len(ends) else [])
        documents = []
        for chat, of_chat in zip(chats, pieces, strict=True):
            parts = [self._special(text) if is_it else next(encoded) for text, is_it in of_chat]
            documents.append(self._flagged(chat, np.concatenate([tokens[:0], *parts])))
        sizes = np.array([len(document) for document in documents], np.int32)
        return np.concatenate([np.empty(0, FLAGGED), *documents]), sizes

    def _special(self, token: str) -> npt.NDArray[np.int32]:
        return np.array([self._tokenizer.token_id(token)], np.int32)

    def _flagged(self, chat: RenderedChat, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
        learned = self._learned(chat, tokens)
        end = np.array([self._tokenizer.end_of_document_id], np.uint32) | _FLAG
        return np.append(tokens.astype(FLAGGED) | (learned * _FLAG), end)

    def _learned(self, chat: RenderedChat, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Whether each token has a byte of an answer [tokens]."""
        learned = np.zeros(len(tokens), np.bool_)
        if self._tokenizer.decode_bytes(tokens) == chat.text.encode():
            stops = np.cumsum(self._tokenizer.token_byte_lengths[tokens], dtype=np.int64)
            for start, stop in _in_bytes(chat):
                first, last = np.searchsorted(stops, [start, stop - 1], side="right")
                learned[first : last + 1] = True
            return learned
        # The tokenizer changes texts before it cuts them (NFC, say): it tells the places itself.
        places = self._places(chat)
        assert len(places) == len(tokens), (len(places), len(tokens))
        for start, stop in chat.answers:
            learned |= np.array([a < stop and max(b, a + 1) > start for a, b in places], np.bool_)
        return learned

    def _places(self, chat: RenderedChat) -> list[tuple[int, int]]:
        """Characters of each token."""
        places, before = [], 0
        for text, is_token in _pieces(chat):
            if is_token:
                places.append((before, before + len(text)))
            else:
                _, found = self._tokenizer.encode_with_places(text)
                places += [(before + start, before + stop) for start, stop in found]
            before += len(text)
        return places


def _pieces(chat: RenderedChat) -> list[tuple[str, bool]]:
    """(text, whether it is a special token) one after another; none is empty."""
    pieces, before = [], 0
    for start, stop in [*chat.tokens, (len(chat.text), len(chat.text))]:
        pieces += [(chat.text[before:start], False), (chat.text[start:stop], True)]
        before = stop
    return [piece for piece in pieces if piece[0]]


def _in_bytes(chat: RenderedChat) -> list[tuple[int, int]]:
    """The answers in bytes of UTF-8."""
    if chat.text.isascii():
        return chat.answers
    places = sorted({place for answer in chat.answers for place in answer})
    found, before, num_bytes = {}, 0, 0
    for place in places:
        num_bytes += len(chat.text[before:place].encode())
        found[place], before = num_bytes, place
    return [(found[start], found[stop]) for start, stop in chat.answers]
