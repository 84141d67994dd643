"""A whole run, and the sections that say how much, from where and in what layout it trains."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from megatron_codemix.config.schema.data import DataConfig, TokenizerConfig
from megatron_codemix.config.schema.fields import PositiveBytes, PositiveTokens, Section
from megatron_codemix.config.schema.model import ModelConfig
from megatron_codemix.config.schema.optimizer import OptimizerConfig
from megatron_codemix.config.schema.precision import AnyPrecisionConfig
from megatron_codemix.config.schema.schedule import ScheduleConfig


class SpikeConfig(Section):
    """Losses that are too far above those before them: the run goes back to its last checkpoint and
    skips the batch."""

    deviations: Annotated[float, Field(gt=0)]
    """Standard deviations above the mean of the window."""
    window_steps: Annotated[int, Field(ge=2)] = 100
    """Steps whose losses are looked at; until there are so many, nothing is a spike."""


class RampUpConfig(Section):
    """A global batch that grows in equal increments, while noise in the gradients is small beside
    the gradients themselves."""

    start_sequences: PositiveInt
    """Samples in the first steps."""
    increment_sequences: PositiveInt
    """By how many the batch grows at a time; divides what lies between start and full batch."""
    over_tokens: PositiveTokens
    """Tokens from the first step to the first with the full batch; each size has the same part of
    them, in whole steps."""


class TrainConfig(Section):
    """How much, in what batches, from which seed."""

    stage: Literal["pretrain", "instruct"] = "pretrain"
    """`pretrain`: every token is learned. `instruct`: of conversations what the assistant writes,
    and the end of the document behind the last answer. It needs `init_from`, `data.document_mask`
    and sources that were prepared from conversations; packing cuts a conversation that is longer
    than a sample at its end."""
    train_tokens: PositiveTokens
    """Tokens of this phase; rounded to the nearest whole step, at least one (recorded in the
    plan)."""
    global_batch_sequences: PositiveInt
    """Samples in one optimizer step, over all data-parallel ranks."""
    ramp_up: RampUpConfig | None = None
    """Smaller batches at the start of the phase, which cut the same order of samples; absent: every
    step has the global batch."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Decides the weights at step 0 and the order of the data."""
    spike: SpikeConfig | None = None
    """Absent: only a loss or a gradient norm that is not finite is skipped."""


class LayoutConfig(Section):
    """How the model is spread over processes. Never changes what is learned, only the rounding; the
    data-parallel size is what the world size leaves."""

    tensor: PositiveInt = 1
    """Tensor-parallel size."""
    pipeline: PositiveInt = 1
    """Pipeline-parallel size (1F1B)."""
    virtual_pipeline: PositiveInt = 1
    """Model chunks of each pipeline stage; above 1: interleaved 1F1B (arXiv 2104.04473), with a
    smaller bubble for more messages. Needs pipeline > 1."""
    context: PositiveInt = 1
    """Context-parallel size: processes that share each sample along the sequence. Keys and values
    are gathered for each attention."""
    expert: PositiveInt = 1
    """Expert-parallel size: processes that share the experts of each layer (`model.moe`), taken
    from those that tensor, context and data parallelism make. Each has whole experts."""
    sequence_parallel: bool = False
    """Whether activations between tensor-parallel regions are split along the sequence (needs
    tensor > 1)."""
    tensor_overlap: bool = False
    """Whether the collectives of tensor parallelism run in pieces beside the products that need
    them, over NVLink in Transformer Engine's own buffers. Needs sequence_parallel and its linear
    layers."""
    microbatch_sequences: PositiveInt = 1
    """Samples in one forward pass of one data-parallel rank."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activations that the backward pass computes again instead of keeping them: those of some
    modules (`recompute_modules`), or of whole layers."""
    recompute_modules: Annotated[
        list[Literal["core_attn", "layernorm", "mlp", "moe"]], Field(min_length=1)
    ] = ["core_attn"]
    """With `recompute: selective`: which. `layernorm` needs `model.block: parallel`; `moe` stands
    in place of `mlp` with `model.moe`."""
    recompute_method: Literal["uniform", "block"] = "uniform"
    """With `recompute: full`: `uniform` keeps the input of every `recompute_layers` layers, `block`
    recomputes the first `recompute_layers` layers of each model chunk and keeps the others."""
    recompute_layers: PositiveInt = 1
    """With `recompute: full`: how many layers `recompute_method` counts."""
    distributed_optimizer: bool = True
    """Whether the optimizer's state is split over data-parallel ranks."""
    overlap_grad_reduce: bool = False
    """Whether gradients are summed over data-parallel ranks while the backward pass goes on."""
    overlap_param_gather: bool = False
    """Whether updated weights are gathered from the data-parallel ranks while the next forward pass
    goes on. Needs distributed_optimizer and overlap_grad_reduce."""
    bucket_parameters: PositiveInt | None = None
    """Parameters in one of the overlapped collectives; absent: megatron-core's choice, 40 million
    or 1 million for each data-parallel rank."""

    @property
    def model_parallel(self) -> int:
        """Processes that hold one copy of the model and work on the same samples."""
        return self.tensor * self.pipeline * self.context

    @property
    def model_chunks(self) -> int:
        """Parts of the model that follow one another in its pipeline."""
        return self.pipeline * self.virtual_pipeline


class CheckpointConfig(Section):
    """When to save, and what to keep."""

    save_every_tokens: PositiveTokens | None = None
    """Save after each of these; absent: only at the end of the phase."""
    keep_last: PositiveInt = 2
    """Number of newest complete checkpoints that are kept."""
    keep_every_tokens: PositiveTokens | None = None
    """Checkpoints that are saved and kept for good: after each of these. Other phases can start
    from them (`init_from.at_tokens`)."""
    asynchronous: bool = True
    """Whether training goes on while a process of each rank writes. The last save of a phase, and
    the one before a stop, are waited for. Either way each rank keeps a copy of its part of the
    checkpoint in the host's memory from the first save on."""


class ValidationConfig(Section):
    """Losses on held-out documents while the phase is trained, and at its end."""

    every_tokens: PositiveTokens
    """After each of these, in whole steps."""
    max_bytes_per_source: PositiveBytes
    """Held-out text that is scored of each source that has some."""
    by_position: bool = False
    """Whether losses are also summed by the place of a token in its document."""
    by_document_length: bool = False
    """Whether losses are also summed by the length of the document."""


class SurvivalConfig(Section):
    """What a run does about what goes wrong."""

    max_skips: Annotated[int, Field(ge=0)] = 10
    """Steps that may be skipped because of their loss, in all; one more ends the run."""
    hang_factor: Annotated[float, Field(gt=1)] = 20.0
    """A step (or a save) that takes so many times as long as the longest before hangs: the
    ranks that hold up the others are named, every rank writes its stacks and the run ends with exit
    code 75. No step may take more than an hour, or hang_floor_seconds or hang_start_seconds where
    one of these is longer."""
    hang_floor_seconds: Annotated[float, Field(gt=0)] = 120.0
    """No less than this is a hang."""
    hang_start_seconds: Annotated[float, Field(gt=0)] = 1800.0
    """The same for building the model, for reading the checkpoint that an attempt goes on from, and
    for its first step."""
    compare_replicas_every_steps: PositiveInt | None = 1000
    """Weights of the data-parallel ranks are compared after each of these; absent: never."""


class BackendConfig(Section):
    """Where to run."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes CUDA where there is a driver and a device, and says what it took."""
    engine: Literal["auto", "transformer_engine", "torch"] = "auto"
    """Whose transformer layers train on a GPU. `auto` takes Transformer Engine's where it is
    usable, gives what ours give there and has what the model asks for, ours for all else, and says
    which and why; `transformer_engine` ends the run where a part would be ours; `torch` leaves it
    out. Neither changes a checkpoint; on a CPU, and wherever a model is evaluated, layers are
    ours."""
    attention: Literal["auto", "flash", "fused", "unfused"] = "auto"
    """Kernels of the attention that trains on a GPU. Transformer Engine's: the package flash-attn,
    cuDNN or plain products; PyTorch's: FlashAttention, cuDNN or plain products. `auto` leaves it to
    either. Another one that cannot compute this model ends the run."""
    cuda_graphs: Literal["none", "microbatch"] = "none"
    """`microbatch`: what a GPU does for the forward and backward pass of one microbatch is recorded
    once and asked for as a whole from then on, which spares the host a launch for each kernel. Not
    run on a GPU yet; the first recorded steps are compared with the same ones without
    (docs/layouts.md)."""
    compile: bool = True
    """Whether a training on GPUs has torch.compile make one kernel of each chain of element-wise
    operations. A function that does not compile there, or gives something else then, stays as it is
    written, with a line that says why. On a CPU nothing is compiled."""


class WandbConfig(Section):
    """A run of Weights & Biases."""

    project: str
    """Its project."""
    entity: str | None = None
    """User or team; absent: the default of whoever is logged in."""
    name: str | None = None
    """Name to show; absent: the last two parts of the run directory."""
    mode: Literal["online", "offline"] = "online"
    """`offline`: files below the run directory, for `wandb sync`."""


class LoggingConfig(Section):
    """What is written while training."""

    every_steps: PositiveInt = 1
    """Write a line of metrics after each of these."""
    tensorboard: bool = False
    """Whether TensorBoard's event files are written to `tensorboard/` in the run directory."""
    wandb: WandbConfig | None = None
    """Absent: nothing goes to Weights & Biases."""


class InitFromConfig(Section):
    """Start from another run's final checkpoint: a new phase. (A run that was stopped simply goes
    on.)"""

    run: Path
    """Directory of the parent run, which must be done unless `at_tokens` is set."""
    load: Literal["weights", "weights+optimizer"]
    """What is taken over: a scientific choice, so it has no default."""
    at_tokens: PositiveTokens | None = None
    """Start from the parent's checkpoint after so many of its tokens (the nearest whole step), as a
    cooldown that branches from a stable phase; absent: from its last."""


class RunConfig(Section):
    """One run: one phase of a study, or a training of its own."""

    model: ModelConfig
    data: DataConfig
    tokenizer: TokenizerConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    train: TrainConfig
    layout: LayoutConfig = LayoutConfig()
    precision: AnyPrecisionConfig
    checkpoint: CheckpointConfig = CheckpointConfig()
    validation: ValidationConfig | None = None
    """Absent: the run is evaluated afterwards, or not at all."""
    survival: SurvivalConfig = SurvivalConfig()
    backend: BackendConfig = BackendConfig()
    logging: LoggingConfig = LoggingConfig()
    init_from: InitFromConfig | None = None
    """The parent phase; absent: weights from the seed."""
