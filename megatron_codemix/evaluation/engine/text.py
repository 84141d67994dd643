"""The text of a row that is being generated, and whether it has come to its end. Free of torch.

Looks at bytes: a character may have several tokens, and a stop string may begin within one.
"""

from collections.abc import Sequence
from typing import Literal

from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.evaluation.engine.requests import Generation, GenerationRequest

FinishReason = Literal["stop", "length", "end"]


class GeneratedText:
    """New tokens of one request."""

    def __init__(self, request: GenerationRequest, tokenizer: Tokenizer) -> None:
        self.tokens: list[int] = []
        self.finish_reason: FinishReason | None = None
        self._request = request
        self._tokenizer = tokenizer
        self._stops = [stop.encode() for stop in request.stop if stop]
        self._longest_stop = max(map(len, self._stops), default=0)
        self._bytes = bytearray()

    def add(self, token: int) -> bool:
        """Takes the next token; whether it is the last."""
        if token == self._tokenizer.end_of_document_id:
            self.finish_reason = "end"
            return True
        self.tokens.append(token)
        if self._stops and self._is_stopped_by(self._tokenizer.decode_bytes([token])):
            self.finish_reason = "stop"
        elif len(self.tokens) == self._request.max_new_tokens:
            self.finish_reason = "length"
        return self.finish_reason is not None

    def generation(self, num_cut: int) -> Generation:
        """What has come of it. Bytes that are no character become U+FFFD."""
        assert self.finish_reason is not None
        content = bytes(self._bytes) if self._stops else self._tokenizer.decode_bytes(self.tokens)
        text = content.decode(errors="replace")
        return Generation(self.tokens, text, self.finish_reason, num_cut)

    def _is_stopped_by(self, piece: bytes) -> bool:
        """Adds the piece, up to the first stop string that it completes."""
        start = max(0, len(self._bytes) - self._longest_stop + 1)
        self._bytes += piece
        found = [place for stop in self._stops if (place := self._bytes.find(stop, start)) >= 0]
        if found:
            del self._bytes[min(found) :]
        return bool(found)


def kept_prompt(prompt: Sequence[int], max_new_tokens: int, max_length: int) -> list[int]:
    """The last tokens of a prompt that leave room for the new ones."""
    return list(prompt[max(0, len(prompt) + max_new_tokens - max_length) :])
