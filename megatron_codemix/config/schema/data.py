"""The sections `data` and `tokenizer`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from megatron_codemix.config.schema.fields import Section
from megatron_codemix.config.schema.mixture import MixtureChangeConfig, MixtureConfig


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
    their own at that time (in equal parts where they have none). Where these have reached theirs
    too, the weight goes on to the ones that take over from them; where nobody is left, the run is
    refused."""


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
