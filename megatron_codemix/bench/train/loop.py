"""The trainer's loop (data, losses by source, ledger, checks, metrics, log, status) beside bare
steps of megatron-core with the same model and batches."""

from collections.abc import Iterator

from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.bench.train.by_turns import LoopShape, measure_loop
from megatron_codemix.bench.train.setting import SEQUENCE, SEQUENCES, Setting, median

_MAX_TIMES = 1.02
"""The bare step's: the goal."""


def loops(setting: Setting) -> Iterator[Row]:
    """A step of the loop, in fp32."""
    shape = LoopShape(
        model=setting.model,
        sequence=SEQUENCE,
        sequences=SEQUENCES,
        precision="fp32",
        num_steps=setting.num_steps,
        data_vocabulary=setting.model.vocabulary_size,
    )
    costs = measure_loop(shape, setting.folder)
    ours, peer = median(costs.loop), median(costs.bare)
    yield Row(
        name="fp32: a step of the loop",
        ours=ours.user,
        peer=peer.user,
        unit="ms",
        goal=Goal(ratio=round(1 / _MAX_TIMES, 3)),
        note=f"user time, median of {len(costs.loop)}; at most {_MAX_TIMES:g} of the bare step's",
        ours_system_seconds=ours.system / 1e3,
        peer_system_seconds=peer.system / 1e3,
    )
    yield Row(
        name="fp32: a step of the loop, by the clock", ours=ours.wall, peer=peer.wall, unit="ms"
    )
    pairs = zip(costs.loop_losses, costs.bare_losses, strict=True)
    difference = max(abs(one - other) for one, other in pairs)
    yield Row(
        name="fp32: losses of loop and bare steps differ by",
        ours=difference * 1e6,
        peer=None,
        unit="1e-6 nats",
        goal=Goal(at_most=0.001),
        note=f"over {len(costs.loop_losses)} steps",
    )
