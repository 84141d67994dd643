"""Long texts: how many a second, and the same bits per byte, beside the harness's `hf`."""

import math
from collections.abc import Iterator
from typing import Any

from lm_eval.api.instance import Instance

from megatron_codemix.bench.evaluate.items import Writer
from megatron_codemix.bench.evaluate.setting import SEED, Setting
from megatron_codemix.bench.evaluate.sides import BATCH_SIZES, Sides, load, with_both
from megatron_codemix.bench.rows import Goal, Row

_CHARACTERS = (2000, 8000)
_MAX_DIFFERENCE = 1e-5
"""Bits per byte, in fp32; measured: 3e-7."""


def rolling(setting: Setting) -> Iterator[Row]:
    """Likelihoods of whole texts, in windows of the model's context."""
    writer = Writer(SEED)
    texts = [writer.function(_CHARACTERS) for _ in range(max(2, setting.num_items // 8))]
    requests = [
        Instance("loglikelihood_rolling", doc={}, arguments=(text,), idx=number)
        for number, text in enumerate(texts)
    ]
    rows: list[Row] = []

    def ask(model: Any) -> list[float]:
        nats: list[float] = model.loglikelihood_rolling(requests, disable_tqdm=True)
        return nats

    def body(sides: Sides) -> None:
        found = sides.measure(ask, setting.repeats, BATCH_SIZES)
        sizes = [len(text.encode()) for text in texts]
        difference = max(
            abs(one - other) / math.log(2) / size
            for one, other, size in zip(found.our_answer, found.peer_answer, sizes, strict=True)
        )
        rows.append(
            Row(
                name="whole texts",
                ours=sum(sizes) / 1e3 / found.ours.user,
                peer=sum(sizes) / 1e3 / found.peer.user,
                unit="kB/s",
                is_rate=True,
                note=f"user time, one thread, median of {setting.repeats}; peer's best batch "
                f"size: {found.batch_size}; {load()}",
            )
        )
        rows.append(
            Row(
                name="whole texts: bits per byte differ by at most",
                ours=difference * 1e6,
                peer=None,
                unit="1e-6 bits",
                goal=Goal(at_most=_MAX_DIFFERENCE * 1e6),
                note=f"of {len(texts)} texts, fp32",
            )
        )

    with_both(setting, body)
    yield from rows
