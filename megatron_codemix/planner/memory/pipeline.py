"""What of the model a pipeline stage has, and how many microbatches it holds at once.

Schedules are megatron-core's: 1F1B and interleaved 1F1B (arXiv 2104.04473, section 2.2).
"""

from typing import NamedTuple

from megatron_codemix.planner.job import Job


class Chunk(NamedTuple):
    """One of the model's parts that follow one another in its pipeline."""

    layers: range
    """Numbers of its layers, from 0."""
    has_embedding: bool
    has_loss: bool
    in_flight: int
    """Microbatches whose activations it holds at the stage's fullest moment."""


def chunks_of_stage(job: Job, stage: int) -> list[Chunk]:
    """The chunks of the pipeline stage `stage`, from 0, in the order of the model."""
    layout = job.layout
    length = job.model.num_layers // layout.model_chunks
    chunks = []
    for number, in_flight in enumerate(_in_flight(job, stage)):
        place = number * layout.pipeline + stage
        chunks.append(
            Chunk(
                layers=range(place * length, (place + 1) * length),
                has_embedding=place == 0,
                has_loss=place == layout.model_chunks - 1,
                in_flight=in_flight,
            )
        )
    return chunks


def _in_flight(job: Job, stage: int) -> list[int]:
    """Microbatches of each chunk between their forward and their backward pass, right after the
    forward pass that ends the warm-up."""
    pipeline, chunks = job.layout.pipeline, job.layout.virtual_pipeline
    if chunks == 1:
        return [min(pipeline - stage, job.num_microbatches)]
    warm_up = 2 * (pipeline - stage - 1) + (chunks - 1) * pipeline
    forwards = min(warm_up + 1, chunks * job.num_microbatches)
    # A chunk takes microbatches in groups as long as the pipeline, then the next chunk takes them.
    rounds, rest = divmod(forwards, chunks * pipeline)
    return [
        rounds * pipeline + min(max(rest - chunk * pipeline, 0), pipeline)
        for chunk in range(chunks)
    ]
