"""What a process is told to measure; free of torch, for who starts it."""

from dataclasses import dataclass
from typing import Any, Self

from pydantic import TypeAdapter

from megatron_codemix.config.schema import AnyPrecisionConfig, BackendConfig, ModelConfig

Side = str
OURS, PEER = "ours", "peer"


@dataclass(frozen=True, kw_only=True)
class Warmth:
    """When a device counts as warm: its clock falls as it heats up, and memory, kernels and
    compiled code are made in the first steps."""

    least_seconds: float = 10.0
    most_seconds: float = 120.0
    """Beyond the first steps, which may compile."""
    tolerance: float = 0.01
    """Of the median step of two blocks in a row."""

    @classmethod
    def of(cls, least_seconds: float) -> Self:
        """With as many times of it at most as is usual."""
        times = cls.most_seconds / cls.least_seconds
        return cls(least_seconds=least_seconds, most_seconds=times * least_seconds)


@dataclass(frozen=True, kw_only=True)
class StepJob:
    """Steps of one or both sides."""

    model: ModelConfig
    precision: AnyPrecisionConfig
    """Of ours; the peer is bf16."""
    sequence: int
    sequences: int
    """Of a step, which is one microbatch."""
    steps: int
    """That are counted."""
    sides: tuple[Side, ...]
    """OURS, PEER; both: by turns."""
    backend: BackendConfig
    """Of ours; its device is that of both."""
    is_compiled: bool
    """The peer, by torch.compile."""
    warmth: Warmth

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {"kind": "step", **TypeAdapter(StepJob).dump_python(self, mode="json")}


@dataclass(frozen=True, kw_only=True)
class LoopJob:
    """Steps of the trainer's loop and bare ones by turns, then as many of the loop alone."""

    model: ModelConfig
    sequence: int
    sequences: int
    steps: int
    backend: BackendConfig
    data_vocabulary: int = 8192
    """Entries that the data use: they are few, and the loop does not ask which tokens it reads."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {"kind": "loop", **TypeAdapter(LoopJob).dump_python(self, mode="json")}


def read_job(record: dict[str, Any]) -> StepJob | LoopJob:  # Any: JSON values
    """Of what `as_dict` gave."""
    kinds: dict[str, type[StepJob] | type[LoopJob]] = {"step": StepJob, "loop": LoopJob}
    kind = kinds[record["kind"]]
    rest = {name: value for name, value in record.items() if name != "kind"}
    job: StepJob | LoopJob = TypeAdapter(kind).validate_python(rest)
    return job
