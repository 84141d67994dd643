"""A run's model over all ranks, as rank 0 holds it and the others serve it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch.distributed

from megatron_codemix.backend.devices import Backend, select_backend
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.evaluation.engine.control import Control
from megatron_codemix.evaluation.engine.generation import (
    ContinueCommand,
    EndCommand,
    StartCommand,
    generate_all,
)
from megatron_codemix.evaluation.engine.requests import (
    Generation,
    GenerationRequest,
    LanguageModel,
    Score,
    ScoreRequest,
)
from megatron_codemix.evaluation.engine.scoring import ScoreCommand, score_part, score_requests
from megatron_codemix.evaluation.engine.slots import Slots
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.evaluation.loading import load_model
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.mcore.inference.decoding import Decoder
from megatron_codemix.mcore.inference.stage import Stage
from megatron_codemix.mcore.inference.vocabulary import Vocabulary
from megatron_codemix.mcore.rank import start_rank
from megatron_codemix.run_checkpoints import checkpoint_of
from megatron_codemix.runs import RunDirectory

CPU_BATCH_TOKENS = 1024
GPU_BATCH_TOKENS = 32768


class ShardedModel:
    """A LanguageModel over the ranks. Every rank makes one; rank 0 asks it, the others serve."""

    def __init__(
        self,
        config: RunConfig,
        stage: Stage,
        *,
        max_batch_tokens: int,
    ) -> None:
        self.tokenizer = Tokenizer.load(config.tokenizer.path)
        self.max_length = config.data.sequence_length
        self.prefix_token = self.tokenizer.end_of_document_id
        self.max_batch_tokens = max_batch_tokens
        self._stage = stage
        self._vocabulary = Vocabulary(stage, self.tokenizer.vocabulary_size)
        self._copy = stage.parallel.data_rank
        """Number of the copy of the model that this rank has a part of."""
        self._slots: Slots | None = None
        self.control = Control(self._obey)

    def score(
        self,
        requests: Sequence[ScoreRequest],
        on_result: Callable[[int, list[Score]], None],
    ) -> None:
        """As LanguageModel says; results come by length, the longest rows first."""
        score_requests(
            requests,
            on_result,
            control=self.control,
            stage=self._stage,
            max_length=self.max_length,
            max_batch_tokens=self.max_batch_tokens,
        )

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_result: Callable[[int, Generation], None],
    ) -> None:
        """As LanguageModel says; results come as they are done, the longest begin first."""
        generate_all(
            requests,
            on_result,
            control=self.control,
            stage=self._stage,
            max_length=self.max_length,
            max_batch_tokens=self.max_batch_tokens,
        )

    def _obey(self, command: Any) -> Any:
        """This rank's answer to a command."""
        match command:
            case ScoreCommand():
                self._end()  # of a generation that was cut short: layers would read its cache
                scores = score_part(command, self._stage, self._vocabulary)
                return (self._copy, scores) if self._stage.speaks else None
            case StartCommand():
                self._start(command)
            case ContinueCommand():
                assert self._slots is not None
                done = self._slots.run(command.requests[self._copy])
                return (self._copy, done) if self._stage.speaks else None
            case EndCommand():
                self._end()
        return None

    def _start(self, command: StartCommand) -> None:
        self._end()
        decoder = Decoder(
            self._stage, self._vocabulary, num_slots=command.num_slots, length=command.length
        )
        self._slots = Slots(
            decoder,
            self.tokenizer,
            max_length=self.max_length,
            max_batch_tokens=command.max_batch_tokens,
        )

    def _end(self) -> None:
        if self._slots is not None:
            self._slots.close()
            self._slots = None


def run_with_model(
    run: RunDirectory,
    layout: EvaluationLayout,
    context: RankContext,
    body: Callable[[LanguageModel], None],
    *,
    step: int | None = None,
    max_batch_tokens: int | None = None,
) -> None:
    """Loads a checkpoint of the run over all ranks; rank 0 carries out `body` with it, the others
    serve until that returns or raises. Every rank calls it.

    Copies of the model, data-parallel, are as many as the layout leaves. Raises ConfigError for a
    layout that the model cannot have, RunError where the checkpoint is not there, not complete or
    damaged.

    step: of the checkpoint; None: the last one of a finished run.
    max_batch_tokens: places of one forward pass, padding included; None: 1024 on a CPU, 32768 on a
        GPU.
    """
    config = load_run_config(run.config)
    layout.check(config, context.world_size)
    folder = checkpoint_of(run, step)
    is_met = torch.distributed.is_initialized()
    if is_met:
        backend: Backend = select_backend(config.backend.device, context.local_rank)
    else:
        backend = start_rank(config.backend.device, context)
    model, parallel = load_model(config, folder, layout, backend)
    stage = Stage(model, parallel, backend, max_length=config.data.sequence_length)
    default = CPU_BATCH_TOKENS if backend.name == "cpu" else GPU_BATCH_TOKENS
    sharded = ShardedModel(config, stage, max_batch_tokens=max_batch_tokens or default)
    if context.rank > 0:
        sharded.control.serve()
    else:
        try:
            body(sharded)
        finally:
            sharded.control.end()
    if not is_met:
        torch.distributed.destroy_process_group()
