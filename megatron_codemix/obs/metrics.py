"""The metrics of a run: a JSON line for each logged step, numbers exactly as they were.

A name ends in its unit: `loss/train_nats`, `throughput/tokens_per_second`. TensorBoard is written
beside the file where it is asked for; the file is what the report reads.
"""

import time
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from megatron_codemix.errors import UnavailableError
from megatron_codemix.files import append_jsonl, read_jsonl, rewrite_jsonl

Number = int | float


class _Events(Protocol):
    """The part of TensorBoard's EventFileWriter that is used here."""

    def add_event(self, event: Any) -> None: ...

    def flush(self) -> None: ...


class MetricWriter:
    """Appends to `metrics.jsonl`. One process of a run owns it."""

    def __init__(self, path: Path, *, tensorboard: Path | None = None) -> None:
        """tensorboard: folder for TensorBoard's event files; absent: none are written.

        Raises UnavailableError if TensorBoard is asked for and not installed.
        """
        self.path = path
        self._events = None if tensorboard is None else _open_events(tensorboard)

    def write(self, record: Mapping[str, Number]) -> None:
        """Appends one line. `record` has "step"; floats are read back bit for bit."""
        assert "step" in record, f"a metrics line without its step: {sorted(record)}"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_jsonl(self.path, record)
        if self._events is not None:
            self._events.add_event(_scalars_event(record))
            self._events.flush()

    def truncate_after(self, step: int) -> None:
        """Drops what was written after `step`, and a last line cut by a kill.

        A resumed run calls it first, because it writes the later steps again.
        """
        if self.path.exists():
            records = read_jsonl(self.path)
            rewrite_jsonl(self.path, [line for line in records if line["step"] <= step])


def _open_events(folder: Path) -> _Events:
    if find_spec("tensorboard") is None:
        raise UnavailableError(
            "TensorBoard output was asked for and the package 'tensorboard' is not installed; "
            "install it (pip install tensorboard) or do without: metrics.jsonl has it all"
        )
    # TensorBoard's own writer, not torch's wrapper of it: this package loads without torch.
    module = import_module("tensorboard.summary.writer.event_file_writer")
    writer: _Events = module.EventFileWriter(str(folder))
    return writer


def _scalars_event(record: Mapping[str, Number]) -> Any:  # Any: a protocol buffer, untyped
    make_event = import_module("tensorboard.compat.proto.event_pb2").Event
    summary = import_module("tensorboard.compat.proto.summary_pb2").Summary
    values = [
        summary.Value(tag=name, simple_value=float(value))
        for name, value in record.items()
        if name != "step"
    ]
    return make_event(
        wall_time=time.time(), step=int(record["step"]), summary=summary(value=values)
    )
