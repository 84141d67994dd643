"""What TensorBoard and Weights & Biases read back of a run's metrics."""

import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from megatron_codemix.errors import UnavailableError
from megatron_codemix.obs import trackers
from megatron_codemix.obs.metrics import MetricWriter
from megatron_codemix.obs.trackers import TensorBoard, WeightsAndBiases, require_tracker

_LOSS = "loss/train_nats"


def test_a_package_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda package: None)
    with pytest.raises(UnavailableError, match="package 'wandb' is not installed"):
        require_tracker("wandb")


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
@pytest.mark.filterwarnings("ignore")  # of tensorboard's imports
def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    writer = MetricWriter(tmp_path / "metrics.jsonl", [TensorBoard(tmp_path / "events")])
    writer.write({"step": 7, _LOSS: 0.5})
    writer.close()
    (path,) = (tmp_path / "events").iterdir()
    events = [event for event in EventFileLoader(str(path)).Load() if event.summary.value]
    assert [event.step for event in events] == [7]
    assert events[0].summary.value[0].tag == _LOSS
    assert list(events[0].summary.value[0].tensor.float_val) == [0.5]


def open_run(folder: Path) -> WeightsAndBiases:
    return WeightsAndBiases(
        project="codemix",
        entity=None,
        name="a/run",
        identity="0123456789abcdef" * 4,
        mode="offline",
        folder=folder,
        config={"train": {"seed": 1}},
    )


def wandb_records(path: Path) -> Iterator[bytes]:
    """Of a small file: LevelDB's log format behind 7 bytes, all in the first block."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    assert len(data) < 32_768
    position = 7
    while position < len(data):
        length, kind = struct.unpack_from("<HB", data, position + 4)
        assert kind == 1
        yield data[position + 7 : position + 7 + length]
        position += 7 + length


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
@pytest.mark.filterwarnings("ignore")  # of wandb's imports
def test_wandb_reads_each_step_once(tmp_path: Path) -> None:
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    tracker = open_run(tmp_path)
    for step, loss in ((1, 3.0), (2, 2.5), (2, 2.5), (3, 2.25)):  # a step comes again
        tracker.write({"step": step, _LOSS: loss})
    tracker.close()
    wandb.teardown()  # its service, which ends with the process, writes on for a while
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert "0123456789abcdef" in path.name
    found = []
    for data in wandb_records(path):
        items = {
            item.key or "/".join(item.nested_key): item.value_json
            for item in Record.FromString(data).history.item
        }
        if _LOSS in items:
            found.append((int(items["_step"]), float(items[_LOSS])))
    assert found == [(1, 3.0), (2, 2.5), (3, 2.25)]
