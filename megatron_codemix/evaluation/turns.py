"""What a user says to a model that knows turns, and what it answers, by a chat template."""

from collections.abc import Sequence

from megatron_codemix.corpus.instructions.template import ChatRenderer, ChatTemplate, Message
from megatron_codemix.data.preparation.conversations import encode_chat
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.evaluation.prompts import END_OF_TURN


class Turns:
    """Conversations as a model was tuned on them."""

    def __init__(self, template: ChatTemplate, tokenizer: Tokenizer) -> None:
        """Raises DataError where the source is no template."""
        self._tokenizer = tokenizer
        self._chat = ChatRenderer(template, tokenizer.special_tokens, tokenizer.end_of_document)
        self._before, self._after = self._chat.frame()

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens up to where the assistant's turn begins. Raises DataError as
        `ChatRenderer.render` does."""
        chat = self._chat.render(messages, add_generation_prompt=True)
        return encode_chat(self._tokenizer, chat)

    @property
    def stop(self) -> str:
        """The end of an answer; of a template whose turns end with no more than a line, the
        beginning of the next one."""
        return self._after.strip() or END_OF_TURN

    def answer(self, text: str) -> str:
        """What the model has said, without what the template writes around it."""
        return text.removeprefix(self._before).removesuffix(self._after)
