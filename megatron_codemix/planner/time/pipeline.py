"""How layers are spread over pipeline stages, and what part of a step stages wait."""

import math
from collections.abc import Sequence

from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.planner.job import Job


def stage_layers(job: Job) -> list[int]:
    """Layers of each stage. Where chunks cannot be equal, which this project refuses and others
    train with, the ends have fewer: embedding and loss stand in for layers."""
    layers, stages = job.model.num_layers, job.layout.pipeline
    if layers % job.layout.model_chunks == 0:
        return [layers // stages] * stages
    middle = math.ceil(layers / job.layout.model_chunks) * job.layout.virtual_pipeline
    ends = layers - (stages - 2) * middle
    return [ends // 2, *[middle] * (stages - 2), ends - ends // 2]


def bubble_seconds(microbatch_seconds: Sequence[float], virtual_pipeline: int) -> float:
    """What the slowest stage waits while the pipeline fills and drains.

    microbatch_seconds: forward and backward of one microbatch, of each stage. 1F1B waits once for
    each of the others, interleaved stages for one of their chunks (arXiv 2104.04473, section 2.2).
    """
    return (sum(microbatch_seconds) - max(microbatch_seconds)) / virtual_pipeline


def overlap_microbatches(layout: LayoutConfig) -> float:
    """Backward (or forward) passes of a stage beside which its gradients are reduced (or its
    weights gathered).

    A chunk's gradients are whole after its last microbatch. Interleaved stages take microbatches
    in groups, one for each stage, through one chunk after the other: while the last group goes
    through the other chunks, the first one's gradients are on their way.
    """
    chunks = layout.virtual_pipeline
    return (1 + (chunks - 1) * layout.pipeline) / chunks
