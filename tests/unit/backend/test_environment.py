"""Which device a configuration means on this machine, told without torch."""

from pathlib import Path

import pytest

from megatron_codemix.backend.environment import require_device, runs_on_gpus
from megatron_codemix.errors import UnavailableError


@pytest.mark.parametrize(
    ("device", "without_driver", "with_driver"),
    [("cpu", False, False), ("auto", False, True), ("cuda", True, True)],
)
def test_a_driver_decides_where_a_configuration_does_not(
    device: str,
    without_driver: bool,
    with_driver: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runs_on_gpus(device, tmp_path) == without_driver
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    assert runs_on_gpus(device, tmp_path) == with_driver


def test_a_container_may_have_gpus_without_the_drivers_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "nvidiactl").touch()
    assert not runs_on_gpus("auto", tmp_path)
    with pytest.raises(UnavailableError, match="no NVIDIA driver"):
        require_device("cuda", tmp_path)
    (tmp_path / "nvidia3").touch()
    assert runs_on_gpus("auto", tmp_path)
    assert not runs_on_gpus("cpu", tmp_path)
    require_device("cuda", tmp_path)
