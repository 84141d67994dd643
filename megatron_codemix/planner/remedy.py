"""The smallest change of a layout that brings a run into less memory."""

from dataclasses import replace
from typing import Any

from megatron_codemix.config.schema import LayoutConfig, RunConfig
from megatron_codemix.planner.answer import FITTED_GPU
from megatron_codemix.planner.candidates import RECOMPUTE_FIELDS
from megatron_codemix.planner.hardware import GPU_OF_DEVICE, make_cluster
from megatron_codemix.planner.search import search
from megatron_codemix.planner.time import load_constants

_STEPS = (
    RECOMPUTE_FIELDS,
    RECOMPUTE_FIELDS | {"microbatch_sequences"},
    RECOMPUTE_FIELDS | {"microbatch_sequences", "tensor", "sequence_parallel"},
    frozenset(LayoutConfig.model_fields),
)
"""What may change, the smallest change first: the next is looked at where the one before is not
enough. Recomputation leaves batches, groups of ranks and all numbers as they are."""


def smallest_change(
    config: RunConfig, world_size: int, memory_bytes: int, device_name: str
) -> dict[str, Any] | None:  # Any: values of fields
    """Fields of `layout` that differ in the fastest layout of the smallest change that takes no
    more than `memory_bytes` of each GPU; None where no layout does.

    device_name: as the driver calls the GPU; one that the planner does not know is taken for the
        one that its times were fitted to, which decides between layouts that fit.
    """
    cluster = make_cluster(GPU_OF_DEVICE.get(device_name, FITTED_GPU))
    cluster = replace(cluster, gpu=replace(cluster.gpu, memory_bytes=memory_bytes))
    names = frozenset(LayoutConfig.model_fields)
    for may_change in _STEPS:
        found = search(config, world_size, cluster, load_constants(), fixed=names - may_change)
        if found.ranked:
            return _difference(config.layout, found.best.layout)
    return None


def _difference(before: LayoutConfig, after: LayoutConfig) -> dict[str, Any]:  # Any: as above
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return {name: value for name, value in new.items() if value != old[name]}
