"""What a GPU's memory holds beside tensors: estimates, each with its reason. None was measured with
this project, which has not run on a GPU yet."""

from megatron_codemix.config.schema import Fp8Config
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory.sizes import RankSizes

MIB = 2**20

CONTEXT_BYTES = 640 * MIB
"""CUDA's context with the kernels that PyTorch loads when they are first used (300 to 600 MiB:
pytorch/pytorch issues 107667 and 20532), and cuBLAS's workspaces, 32 MiB for each handle on
Hopper."""

COMMUNICATOR_BYTES = 544 * MIB
"""NCCL's buffers of one communicator: 544 MB between two A100s over NVLink, 688 MB between four
(NVIDIA/nccl issue 964). They grow with the channels that are used, not with the ranks beyond two
nodes (issue 986), and shrink with NCCL_BUFFSIZE or NCCL_MAX_CTAS."""

FRAGMENTATION = 0.05
"""Of activations and logits: what the caching allocator holds between its blocks. Weights,
gradients and the optimizer's state are allocated once and leave no gaps. Shapes repeat from step to
step, and expandable segments (PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True) are taken for
granted: without them up to a third of the memory has been seen to be lost (arXiv 2401.08156)."""


_ENGINE_BUFFERS = 12
_GATHERED_BUFFERS = 8
"""Of Transformer Engine for collectives beside products: each of four linear layers has one for its
output and one for each gradient; those that gather are narrow in FP8 (initialize_ub of 2.11)."""


def communication_bytes(job: Job, sizes: RankSizes) -> int:
    """Buffers of the communicators, and tensors that are received or gathered."""
    layout = job.layout
    buffers = num_communicators(job) * COMMUNICATOR_BYTES + overlap_buffer_bytes(job, sizes)
    if layout.sequence_parallel:  # megatron-core gathers into one tensor that stays
        buffers += sizes.of_tokens(sizes.hidden)
    return buffers + message_bytes(job, sizes)


def overlap_buffer_bytes(job: Job, sizes: RankSizes) -> int:
    """Of `layout.tensor_overlap`: activations before they are cut along the sequence, in bf16, and
    in FP8 as well where that is trained in."""
    if not job.layout.tensor_overlap:
        return 0
    of_one = sizes.tokens * sizes.hidden
    buffers = 2 * _ENGINE_BUFFERS * of_one
    if isinstance(job.precision, Fp8Config):
        buffers += (2 * _ENGINE_BUFFERS - _GATHERED_BUFFERS) * of_one
    return buffers


def message_bytes(job: Job, sizes: RankSizes) -> int:
    """Between pipeline stages: an output's gradient while the next input arrives; interleaved
    stages receive both one ahead."""
    layout = job.layout
    if layout.pipeline == 1:
        return 0
    return (2 if layout.virtual_pipeline == 1 else 4) * sizes.stream


def num_communicators(job: Job) -> int:
    """Groups of more than one rank that every rank communicates in."""
    layout = job.layout
    replicas = job.data_parallel * layout.context
    # All of them: for the gradient's norm.
    sizes = [job.world_size, layout.tensor, layout.context, replicas, layout.expert]
    if job.model.moe is not None:
        sizes.append(job.world_size // layout.pipeline // layout.expert)
    if layout.pipeline > 1:
        sizes.append(layout.pipeline)
        sizes += [2] if job.model.tie_embeddings else []
    return sum(size > 1 for size in sizes)
