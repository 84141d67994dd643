"""The configuration tree: what a user may ask of one run (one phase of a study).

Every scalar reaches these models as text and is typed by its field (see `loader`), so a field's
type decides what `200B`, `3e-4` or `no` mean. Scientific choices have no default; absent is `None`.
The models are frozen: what follows from a configuration is worked out in `plan`, never written
back.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PositiveInt

from megatron_codemix.units import format_count, parse_count


def _read_count(value: Any) -> Any:  # Any: pydantic hands over whatever the file held
    return parse_count(value) if isinstance(value, str) else value


Tokens = Annotated[
    int,
    BeforeValidator(_read_count),
    Field(ge=0, json_schema_extra={"examples": ["200B"]}),
    PlainSerializer(format_count, when_used="json"),
]
"""A number of tokens: `200B`, `0.5M`, `4096`."""

PositiveTokens = Annotated[Tokens, Field(gt=0)]


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class ModelConfig(Section):
    """Shape of the decoder-only transformer. Everything megatron-core can do beyond these goes into
    `transformer_overrides`."""

    num_layers: PositiveInt
    """Number of transformer layers."""
    hidden_size: PositiveInt
    """Width of the residual stream."""
    ffn_hidden_size: PositiveInt
    """Width inside the MLP; with a gated activation, of each of its two halves."""
    num_attention_heads: PositiveInt
    """Number of query heads."""
    num_query_groups: PositiveInt | None = None
    """Number of key/value heads (grouped-query attention); absent: one for each query head."""
    head_dim: PositiveInt | None = None
    """Width of one head; absent: hidden_size / num_attention_heads."""
    vocabulary_size: PositiveInt
    """Entries of the tokenizer. The model's tables are padded to a multiple of 1,024, whatever the
    layout."""
    activation: Literal["swiglu", "geglu", "gelu"] = "swiglu"
    """Activation of the MLP; `swiglu` and `geglu` are gated."""
    normalization: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    """Normalisation before attention, before the MLP and at the end."""
    norm_epsilon: Annotated[float, Field(gt=0)] = 1e-5
    """Added to the variance inside the normalisation."""
    rope_base: Annotated[float, Field(gt=0)] = 10000.0
    """Base of the rotary position embedding's frequencies (arXiv 2104.09864)."""
    tie_embeddings: bool
    """Whether the output layer uses the input embedding's weights."""
    add_bias: bool = False
    """Whether the dense layers have biases."""
    init_std: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation of the initial weights; the two layers that write to the residual stream
    use init_std / sqrt(2 * num_layers)."""
    transformer_overrides: dict[str, str] = {}
    """Other fields of megatron-core's TransformerConfig, by name. For experts; checked for name and
    type."""


class TokenizerConfig(Section):
    """The tokenizer that made the token shards."""

    path: Path
    """A `tokenizer.json`. Its hash must be the one in every shard's manifest."""


class FillInTheMiddleConfig(Section):
    """Documents cut in three, the middle moved to the end (arXiv 2207.14255). Of each sample, after
    it was cut out of the source; the tokenizer must have the tokens that mark the pieces."""

    rate: Annotated[float, Field(gt=0, le=1)]
    """Probability for each document of a sample, or part of one."""
    spm_rate: Annotated[float, Field(ge=0, le=1)]
    """Probability that the suffix comes first (SPM) instead of the prefix (PSM), where cut."""


class SourceConfig(Section):
    """Token shards of one source (one corpus of one provenance)."""

    train: Path
    """Prefix of the training shard: `<train>.bin`, `.idx`, `.blocks` and `.manifest.json`."""
    validation: Path | None = None
    """Prefix of the held-out shard, for evaluation."""
    packing: Literal["best_fit"] | None = None
    """`best_fit`: samples of whole documents, padded where none fits (arXiv 2404.10830); absent:
    windows of the documents' stream, which cut them anywhere."""
    fill_in_the_middle: FillInTheMiddleConfig | None = None
    """For code; absent: documents are read from front to back."""
    max_epochs: Annotated[float, Field(gt=0)] | None = None
    """Times that the source may be read, over all phases of a chain; absent: no limit."""
    spill_to: list[str] = []
    """Sources that take over the weight of this one when it reaches max_epochs, in proportion to
    their own at that time (in equal parts where they have none); empty: the run is refused."""


Weights = Annotated[dict[str, Annotated[float, Field(ge=0)]], Field(min_length=1)]
"""Share of the tokens from each source; they sum to 1, and sources that are left out have 0."""


class ConstantMixtureConfig(Section):
    """The same weights from the first to the last sample."""

    kind: Literal["constant"] = "constant"
    weights: Weights
    """Share of the tokens from each source; they sum to 1."""


class MixtureStepConfig(Section):
    """Weights from one point on."""

    from_tokens: Tokens
    """Where these weights begin, in tokens since the mixture began; 0 in the first step. Rounded to
    the nearest whole sample."""
    weights: Weights
    """Share of the tokens from each source; they sum to 1."""


class StepMixtureConfig(Section):
    """Weights that jump."""

    kind: Literal["step"] = "step"
    steps: Annotated[list[MixtureStepConfig], Field(min_length=1)]
    """The weights, each from its point on, in order."""


class LinearMixtureConfig(Section):
    """Weights on a straight line from `start` to `end`, reached at the last token of the phase."""

    kind: Literal["linear"] = "linear"
    start: Weights
    """Share of the tokens from each source at the first token; they sum to 1."""
    end: Weights
    """Share of the tokens from each source at the last token; they sum to 1."""


class CosineMixtureConfig(Section):
    """Weights on half a cosine from `start` to `end`, reached at the last token of the phase: slow
    at both ends."""

    kind: Literal["cosine"] = "cosine"
    start: Weights
    """Share of the tokens from each source at the first token; they sum to 1."""
    end: Weights
    """Share of the tokens from each source at the last token; they sum to 1."""


class StagesMixtureConfig(Section):
    """The dynamic mixing of "At Which Training Stage Does Code Data Help LLMs Reasoning?" (arXiv
    2309.16298, Table 5): four stages in which the share of code takes steps.

    The paper gives the ratios and not the lengths of the stages; they are equal here, with which
    all three strategies have the same total share, 3/8.
    """

    kind: Literal["stages"] = "stages"
    strategy: Literal["uniform", "increase", "decrease"]
    """Text : code in the four stages. `uniform`: 5:3 in all; `increase`: 7:3, 7:3, 6:4, 5:5;
    `decrease`: 5:5, 6:4, 7:3, 7:3."""
    varying: Weights
    """Sources whose share is stepped (the paper's code), with their shares of one another; they sum
    to 1."""
    others: Weights
    """Sources that make up the rest (the paper's text), with their shares of one another; they sum
    to 1."""


def _constant_by_default(value: Any) -> Any:  # Any: pydantic hands over whatever the file held
    is_open = isinstance(value, dict) and "kind" not in value
    return {"kind": "constant", **value} if is_open else value


MixtureConfig = Annotated[
    ConstantMixtureConfig
    | StepMixtureConfig
    | LinearMixtureConfig
    | CosineMixtureConfig
    | StagesMixtureConfig,
    Field(discriminator="kind"),
    BeforeValidator(_constant_by_default),
]
"""Without a `kind` it is `constant`."""


class MixtureChangeConfig(Section):
    """Another mixture from a point in the phase on."""

    at_tokens: PositiveTokens
    """Where it begins, in tokens of the phase. Rounded to the nearest whole sample."""
    mixture: MixtureConfig
    """Share of each source from there on; a schedule runs from there to the end of the phase."""


class DataConfig(Section):
    """What the model reads, and in what proportion."""

    sequence_length: PositiveInt
    """Tokens the model sees in one sample; a sample is cut one longer, for the labels."""
    sources: Annotated[dict[str, SourceConfig], Field(min_length=1)]
    """The sources by name. Those without a weight in the mixture are not read, but may be evaluated
    on."""
    mixture: MixtureConfig
    """Share of each source, as a function of the tokens of this phase."""
    changes: list[MixtureChangeConfig] = []
    """Other mixtures from points in the phase on, in order. Every source goes on where it stands,
    so a run that has not yet come to a change may be given one and go on."""
    order: Literal["stateless", "megatron"] = "stateless"
    """Order of the samples. `stateless`: a keyed permutation of each source, fresh in each epoch,
    with nothing built or stored; `megatron`: bit for bit what Megatron-LM reads for a run of this
    length with constant weights."""
    document_mask: bool = False
    """Whether tokens see only their own document of a sample, with positions from its start. On
    GPUs too through a dense mask of sequence_length x sequence_length, without the fused kernels
    for packed sequences."""
    loader: Literal["own", "dali"] = "own"
    """What prepares the batches: a thread of ours, or NVIDIA DALI (extra `dali`). The same batches,
    bit for bit."""
    prefetch_steps: PositiveInt = 2
    """Steps whose batches are prepared while another is trained."""
    restart: bool = False
    """With `init_from`: read every source from its beginning again. Default: go on where the parent
    stood, so that nothing is repeated or skipped within an epoch."""


class AdamWConfig(Section):
    """AdamW (arXiv 1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: Annotated[float, Field(ge=0)]
    """Decoupled weight decay; not applied to biases and normalisation weights."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the first moment."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of the second moment."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of the second moment."""
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest global gradient norm; absent: no clipping."""


class CosineSchedule(Section):
    """Linear warmup from 0, then half a cosine from `peak_lr` down to `min_lr` at the last
    token."""

    kind: Literal["cosine"] = "cosine"
    peak_lr: Annotated[float, Field(gt=0)]
    """Learning rate at the end of the warmup."""
    min_lr: Annotated[float, Field(ge=0)]
    """Learning rate at the last token."""
    warmup_tokens: Tokens
    """Length of the warmup."""


class LinearSchedule(Section):
    """A straight line from `start_lr` to `final_lr` over the phase: a cooldown."""

    kind: Literal["linear"] = "linear"
    start_lr: Annotated[float, Field(gt=0)]
    """Learning rate before the first step."""
    final_lr: Annotated[float, Field(ge=0)]
    """Learning rate at the last token."""


class ConstantSchedule(Section):
    """Linear warmup from 0, then `lr` to the end."""

    kind: Literal["constant"] = "constant"
    lr: Annotated[float, Field(gt=0)]
    """Learning rate after the warmup."""
    warmup_tokens: Tokens
    """Length of the warmup."""


ScheduleConfig = Annotated[
    CosineSchedule | LinearSchedule | ConstantSchedule, Field(discriminator="kind")
]


class TrainConfig(Section):
    """How much, in what batches, from which seed."""

    train_tokens: PositiveTokens
    """Tokens of this phase; rounded to the nearest whole step, at least one (recorded in the
    plan)."""
    global_batch_sequences: PositiveInt
    """Samples in one optimizer step, over all data-parallel ranks."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Decides the weights at step 0 and the order of the data."""


class LayoutConfig(Section):
    """How the model is spread over processes. Never changes what is learned, only the rounding; the
    data-parallel size is what the world size leaves."""

    tensor: PositiveInt = 1
    """Tensor-parallel size."""
    pipeline: PositiveInt = 1
    """Pipeline-parallel size (1F1B)."""
    sequence_parallel: bool = False
    """Whether activations between tensor-parallel regions are split along the sequence (needs
    tensor > 1)."""
    microbatch_sequences: PositiveInt = 1
    """Samples in one forward pass of one data-parallel rank."""
    distributed_optimizer: bool = True
    """Whether the optimizer's state is split over data-parallel ranks."""


class PrecisionConfig(Section):
    """Number format of weights in the forward pass, activations and gradients; the optimizer's
    master weights, its state and the gradient reduction are fp32 in both."""

    kind: Literal["fp32", "bf16"]
    """`bf16` is the choice on GPUs; on CPUs it is fast only where the processor has instructions
    for it."""


class CheckpointConfig(Section):
    """When to save, and what to keep."""

    save_every_tokens: PositiveTokens | None = None
    """Save after each of these; absent: only at the end of the phase."""
    keep_last: PositiveInt = 2
    """Number of newest complete checkpoints that are kept."""


class BackendConfig(Section):
    """Where to run."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes CUDA where there is a driver and a device, and says what it took."""


class LoggingConfig(Section):
    """What is written while training."""

    every_steps: PositiveInt = 1
    """Write a line of metrics after each of these."""


class InitFromConfig(Section):
    """Start from another run's final checkpoint: a new phase. (A run that was stopped simply goes
    on.)"""

    run: Path
    """Directory of the parent run, which must be done."""
    load: Literal["weights", "weights+optimizer"]
    """What is taken over: a scientific choice, so it has no default."""


class RunConfig(Section):
    """One run: one phase of a study, or a training of its own."""

    model: ModelConfig
    data: DataConfig
    tokenizer: TokenizerConfig
    optimizer: AdamWConfig
    schedule: ScheduleConfig
    train: TrainConfig
    layout: LayoutConfig = LayoutConfig()
    precision: PrecisionConfig
    checkpoint: CheckpointConfig = CheckpointConfig()
    backend: BackendConfig = BackendConfig()
    logging: LoggingConfig = LoggingConfig()
    init_from: InitFromConfig | None = None
    """The parent phase; absent: weights from the seed."""
