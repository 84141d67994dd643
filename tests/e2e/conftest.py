"""What several of these tests stand on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.disks import small_disk


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty file system of the module's DISK_BYTES."""
    with small_disk(tmp_path / "disk", request.module.DISK_BYTES) as folder:
        yield folder
