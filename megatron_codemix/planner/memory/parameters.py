"""Parameters that one rank of a pipeline stage holds, by formula."""

from dataclasses import dataclass

from megatron_codemix.config.parameters import layer_parameters, norm_parameters
from megatron_codemix.config.plan import padded_vocabulary_size
from megatron_codemix.config.schema import Fp8Config
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory.pipeline import chunks_of_stage


@dataclass(frozen=True, kw_only=True)
class RankParameters:
    """Trainable parameters of one rank."""

    shared: int
    """All but experts: its data- and context-parallel ranks hold the same."""
    experts: int
    fp8_matrices: int
    """Those of `shared` that multiply in FP8."""
    layer: int
    """Of one layer."""

    @property
    def total(self) -> int:
        return self.shared + self.experts


def rank_parameters(job: Job, stage: int) -> RankParameters:
    """Of a rank of the pipeline stage `stage`, from 0."""
    model, layout = job.model, job.layout
    layer = layer_parameters(model, tensor=layout.tensor, expert=layout.expert)
    num_layers = model.num_layers // layout.pipeline
    is_first, is_last = stage == 0, stage == layout.pipeline - 1
    # Tied tables are one where both ends are on one rank, and two copies where they are not.
    tables = 1 if is_first and is_last and model.tie_embeddings else is_first + is_last
    shared = num_layers * (layer.matrices + layer.others) + tables * table_parameters(job)
    if is_last:
        shared += norm_parameters(model, model.hidden_size)
    return RankParameters(
        shared=shared,
        experts=num_layers * layer.experts,
        fp8_matrices=layer.matrices * _stage_layers_in_fp8(job, stage),
        layer=sum(layer),
    )


def table_parameters(job: Job) -> int:
    """Of a rank's part of the embedding table, and of the output layer's."""
    rows = padded_vocabulary_size(job.model.vocabulary_size) // job.layout.tensor
    return rows * job.model.hidden_size


def _stage_layers_in_fp8(job: Job, stage: int) -> int:
    if not isinstance(job.precision, Fp8Config):
        return 0
    return sum(layers_in_fp8(job, chunk.layers) for chunk in chunks_of_stage(job, stage))


def layers_in_fp8(job: Job, layers: range) -> int:
    """Those whose matrices multiply in FP8, of layers that follow one another, by their numbers
    from 0."""
    if not isinstance(job.precision, Fp8Config):
        return 0
    ends = {0, job.model.num_layers - 1} if job.precision.first_last_bf16 else set()
    return len(layers) - sum(end in layers for end in ends)
