"""A model served until somebody asks for the end."""

import logging
from collections.abc import Callable

from megatron_codemix.corpus.instructions.template import PLAIN, ChatTemplate
from megatron_codemix.evaluation.engine.requests import LanguageModel
from megatron_codemix.evaluation.serving.batcher import Batcher
from megatron_codemix.evaluation.serving.calls import Served
from megatron_codemix.evaluation.serving.server import ApiServer

log = logging.getLogger(__name__)


def serve(
    server: ApiServer,
    model: LanguageModel,
    *,
    name: str,
    template: ChatTemplate = PLAIN,
    max_waiting: int,
    should_stop: Callable[[], bool],
    on_ready: Callable[[], None],
) -> None:
    """Answers requests under `name` until `should_stop()`; those in the batch that runs then are
    still answered, those behind it are refused with 503. `on_ready` is called once it listens.
    template: of chats."""
    batcher = Batcher(model, max_waiting=max_waiting)
    served = Served(name, model.tokenizer, model.max_length, template)
    with server.open(batcher, served):
        on_ready()
        batcher.run(should_stop)
    log.info("served %d requests in %d batches", batcher.num_requests, batcher.num_batches)
