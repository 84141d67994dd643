"""The process that writes a rank's part of a checkpoint."""

import contextlib
import hashlib
from pathlib import Path

from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess


def test_a_rank_without_tensors_writes_what_else_it_has(tmp_path: Path) -> None:
    with contextlib.closing(CheckpointProcess()) as process:
        process.submit(tmp_path, "none.distcp", [], {})
        nothing = process.result()
        process.submit(tmp_path, "none.distcp", [], {"common.pt": b"small"})
        something = process.result()
    assert not isinstance(nothing, Exception), nothing
    assert (nothing.items, nothing.files) == ([], {})
    assert not isinstance(something, Exception), something
    assert [path.name for path in tmp_path.iterdir()] == ["common.pt"]
    assert something.files["common.pt"].sha256 == hashlib.sha256(b"small").hexdigest()
