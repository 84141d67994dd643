"""Where metrics go besides the run's own file: TensorBoard and Weights & Biases.

Both are optional packages (extra `trackers`), and neither is needed to read a run.
"""

import time
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from megatron_codemix.errors import UnavailableError

Number = int | float


class Tracker(Protocol):
    """Something that shows the metrics of a run."""

    def write(self, record: Mapping[str, Number]) -> None:
        """One line of metrics; it has "step". A step may come again after a restart."""

    def close(self) -> None:
        """Writes what is still held back."""


def require_tracker(package: str) -> None:
    """Raises UnavailableError unless the package is installed."""
    if find_spec(package) is None:
        raise UnavailableError(
            f"logging.{package} was asked for and the package {package!r} is not installed; "
            f"install it (pip install {package}) or do without: metrics.jsonl has it all"
        )


class TensorBoard:
    """Event files for TensorBoard's scalars."""

    def __init__(self, folder: Path) -> None:
        """Raises UnavailableError where TensorBoard is not installed."""
        require_tracker("tensorboard")
        # TensorBoard's own writer, not torch's wrapper of it: this package loads without torch.
        module = import_module("tensorboard.summary.writer.event_file_writer")
        self._writer: Any = module.EventFileWriter(str(folder))  # Any: untyped package
        self._make_event = import_module("tensorboard.compat.proto.event_pb2").Event
        self._summary = import_module("tensorboard.compat.proto.summary_pb2").Summary

    def write(self, record: Mapping[str, Number]) -> None:
        values = [
            self._summary.Value(tag=name, simple_value=float(value))
            for name, value in record.items()
            if name != "step"
        ]
        summary = self._summary(value=values)
        event = self._make_event(wall_time=time.time(), step=int(record["step"]), summary=summary)
        self._writer.add_event(event)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases that goes on under the same id when ours does."""

    def __init__(
        self,
        *,
        project: str,
        entity: str | None,
        name: str,
        identity: str,
        mode: Literal["online", "offline"],
        folder: Path,
        config: Mapping[str, Any],  # Any: JSON values
    ) -> None:
        """Raises UnavailableError where wandb is not installed, or its service does not answer."""
        require_tracker("wandb")
        wandb = import_module("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run: Any = wandb.init(  # Any: optional package
                project=project,
                entity=entity,
                name=name,
                id=identity[:16],
                resume="allow",
                mode=mode,
                dir=str(folder),
                config=dict(config),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except Exception as error:  # its errors share no base class
            raise UnavailableError(
                f"logging.wandb: the run could not be opened ({error}); log in with 'wandb login', "
                "or set logging.wandb.mode=offline and run 'wandb sync' later"
            ) from error
        self._last_step = -1

    def write(self, record: Mapping[str, Number]) -> None:
        step = int(record["step"])
        if step < self._last_step:  # steps that are made again are the same, bit for bit
            return
        self._last_step = step
        self._run.log({name: value for name, value in record.items() if name != "step"}, step=step)

    def close(self) -> None:
        self._run.finish()
