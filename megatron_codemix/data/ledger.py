"""The ledger: what was planned and what was consumed, per source, at every checkpoint.

Consumption is counted from the batches that went through the model, never from the plan, so that
the two can disagree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.resolve import DataPlan
from megatron_codemix.errors import RunError


@dataclass
class SourceCount:
    """What a phase has consumed of one source."""

    samples: int = 0
    skipped: int = 0
    """Samples of batches that were passed over."""
    loss_tokens: int = 0
    """Tokens that counted in the loss."""
    nats: float = 0.0
    """Sum of their losses."""


@dataclass
class Ledger:
    """Running counts of one phase. Source numbers are positions among the plan's sorted source
    names."""

    plan: DataPlan
    samples_per_epoch: Mapping[str, int]
    counts: dict[str, SourceCount] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mixture = Mixture(self.plan.mixture)
        self.counts = self.counts or {name: SourceCount() for name in self.names}

    @property
    def names(self) -> list[str]:
        """Sources that the plan reads, in the order of their numbers."""
        return self.mixture.source_names

    def add(
        self,
        source_samples: Sequence[int] | np.ndarray,
        source_tokens: Sequence[int] | np.ndarray,
        source_nats: Sequence[float] | np.ndarray,
    ) -> None:
        """Counts one step: samples, tokens in the loss and summed losses of each source."""
        for number, name in enumerate(self.names):
            count = self.counts[name]
            count.samples += int(source_samples[number])
            count.loss_tokens += int(source_tokens[number])
            count.nats += float(source_nats[number])

    def skip(self, source_samples: Sequence[int] | np.ndarray) -> None:
        """Counts one step whose batch was passed over: samples of each source."""
        for number, name in enumerate(self.names):
            self.counts[name].skipped += int(source_samples[number])

    def record(self, step: int) -> dict[str, Any]:  # Any: JSON values
        """The ledger line after `step` steps of this phase."""
        samples = sum(count.samples + count.skipped for count in self.counts.values())
        planned = dict(zip(self.names, self.mixture.planned(samples).tolist(), strict=True))
        sources = {
            name: self._source_record(name, planned.get(name, 0.0)) for name in self._all_names()
        }
        segment = self.plan.mixture.segment_at(max(samples - 1, 0))
        return {
            "step": step,
            "samples": samples,
            "tokens": samples * self.plan.sequence_length,
            "segment": segment,
            "method": self.plan.mixture.segments[segment].method,
            "sources": sources,
            "max_error_samples": max(
                abs(
                    source["consumed_samples"]
                    + source["skipped_samples"]
                    - source["planned_samples"]
                )
                for source in sources.values()
            ),
        }

    def restore(self, record: Mapping[str, Any]) -> None:
        """Goes on from a line that `record` made.

        Raises RunError if its counts are not where the mixture stands after as many samples: what
        comes next would repeat or skip samples.
        """
        expected = self.mixture.counts(record["samples"]).tolist()
        for name, count in zip(self.names, expected, strict=True):
            source = record["sources"].get(name)
            if source is None and not count:  # added by a change that is still to come
                continue
            drawn = source["consumed_samples"] + source["skipped_samples"] if source else 0
            if source is None or drawn != count:
                raise RunError(
                    f"the checkpoint after step {record['step']} has drawn {drawn} samples of "
                    f"source {name!r}, where the mixture has given {count}: it was not made by "
                    "this mixture, or its record is damaged; resume from another checkpoint"
                )
            self.counts[name] = SourceCount(
                samples=source["consumed_samples"],
                skipped=source["skipped_samples"],
                loss_tokens=source["loss_tokens"],
                nats=source["nats"],
            )

    def _all_names(self) -> list[str]:
        return sorted({*self.names, *self.plan.inherited})

    def _source_record(self, name: str, planned: float) -> dict[str, Any]:
        count = self.counts.get(name, SourceCount())
        parent = self.plan.inherited.get(name)
        per_epoch = self.samples_per_epoch.get(name) or (parent.samples_per_epoch if parent else 0)
        cursor = count.samples + count.skipped + (parent.cursor if parent else 0)
        length = self.plan.sequence_length
        return {
            "planned_samples": planned,
            "planned_tokens": planned * length,
            "consumed_samples": count.samples,
            "consumed_tokens": count.samples * length,
            "skipped_samples": count.skipped,
            "cursor": cursor,
            "samples_per_epoch": per_epoch,
            "epochs": cursor / per_epoch,
            "chain_tokens": count.samples * length + (parent.chain_tokens if parent else 0),
            "loss_tokens": count.loss_tokens,
            "nats": count.nats,
            "loss_nats": count.nats / count.loss_tokens if count.loss_tokens else None,
        }
