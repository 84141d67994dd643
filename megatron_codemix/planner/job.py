"""What the memory and the time of one training step depend on, apart from the hardware."""

from dataclasses import dataclass
from typing import Self

from megatron_codemix.config.layout_checks import check_layout
from megatron_codemix.config.schema import (
    AnyPrecisionConfig,
    LayoutConfig,
    ModelConfig,
    RunConfig,
)
from megatron_codemix.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Job:
    """One step of the full batch. Raises ConfigError where the sizes do not divide."""

    model: ModelConfig
    sequence_length: int
    global_batch_sequences: int
    layout: LayoutConfig
    precision: AnyPrecisionConfig
    world_size: int
    cuda_graphs: bool = False
    """Whether the passes of a microbatch are recorded (`backend.cuda_graphs`)."""
    document_mask: bool = False
    """Whether tokens see their own document alone (`data.document_mask`)."""
    fully_sharded: bool = False
    """Whether weights are split over data-parallel ranks as well (FSDP, ZeRO-3). Only for figures
    that others have published: this project does not train so."""
    tensor_overlap: bool = False
    """Whether tensor-parallel collectives run beside the products that need them, piece by piece
    (Transformer Engine's user buffers), where the layout does not say so: of published figures."""

    def __post_init__(self) -> None:
        processes = self.layout.model_parallel
        if self.world_size % processes:
            raise ConfigError(
                [
                    f"layout: one copy of the model takes {processes} processes, and "
                    f"{self.world_size} are not a multiple of that; change the number of GPUs or "
                    "the layout"
                ]
            )
        at_once = self.data_parallel * self.layout.microbatch_sequences
        if self.global_batch_sequences % at_once:
            raise ConfigError(
                [
                    f"train.global_batch_sequences: {self.global_batch_sequences} is not a "
                    f"multiple of {at_once} (layout.microbatch_sequences "
                    f"{self.layout.microbatch_sequences} x {self.data_parallel} data-parallel "
                    "ranks); change the microbatch or the number of GPUs"
                ]
            )

    @property
    def overlaps_tensor(self) -> bool:
        """As `tensor_overlap`, whoever says so."""
        return self.tensor_overlap or self.layout.tensor_overlap

    @property
    def data_parallel(self) -> int:
        """Copies of the model that work on different samples."""
        return self.world_size // self.layout.model_parallel

    @property
    def num_microbatches(self) -> int:
        """Forward passes of each data-parallel rank in one step."""
        return self.global_batch_sequences // (
            self.layout.microbatch_sequences * self.data_parallel
        )

    @property
    def microbatch_tokens(self) -> int:
        """Tokens of one microbatch, over all ranks that share it."""
        return self.sequence_length * self.layout.microbatch_sequences

    @classmethod
    def of_config(cls, config: RunConfig, world_size: int) -> Self:
        """The full batch of this run. Raises ConfigError if it cannot run on `world_size`
        processes."""
        if problems := check_layout(config, world_size):
            raise ConfigError(problems)
        return cls(
            model=config.model,
            sequence_length=config.data.sequence_length,
            global_batch_sequences=config.train.global_batch_sequences,
            layout=config.layout,
            precision=config.precision,
            world_size=world_size,
            cuda_graphs=config.backend.cuda_graphs != "none",
            document_mask=config.data.document_mask,
        )
