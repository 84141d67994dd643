"""`codemix doctor` on this very machine, and on one that lacks something."""

import json
import sys

import pytest

from megatron_codemix.backend import collectives_trial
from megatron_codemix.cli import doctor
from megatron_codemix.cli.main import main


def test_this_machine_is_ready(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0

    report = json.loads(capfd.readouterr().out)
    assert report["ok"] is True
    assert report["backend"] in ("cpu", "cuda")
    assert {"python", "torch", "megatron-core", "megatron_codemix", "commit"} <= set(
        report["versions"]
    )
    details = {check["name"]: check["detail"] for check in report["checks"]}
    assert all(set(check) == {"name", "ok", "detail"} for check in report["checks"])
    assert details["collectives"].startswith(
        "all_reduce, all_gather, reduce_scatter, broadcast, send_recv"
    )


def test_the_screen_is_one_screen(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0

    lines = capfd.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert lines[-1].startswith("ready to run on the ")


@pytest.mark.parametrize("version", ["1.13.0", "2.8.0", "2.14.0"])
def test_a_transformer_engine_that_is_not_taken_is_not_ok(
    version: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "engine_version", lambda: version)
    assert main(["doctor"]) == 0

    lines = capfd.readouterr().out.splitlines()
    [found] = [number for number, line in enumerate(lines) if "gpu: te" in line]
    assert lines[found].startswith("--")
    told = " ".join(" ".join(lines[found:]).split())
    assert f"versions from 2.9 on, before 2.12, are taken, and {version} is installed" in told


def test_a_collective_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    all_reduce = collectives_trial._all_reduce

    def _reduce_scatter(*where: object) -> bool:
        all_reduce(*where)  # which ends on no rank before all have told of the one before
        return False

    broken = (all_reduce, _reduce_scatter)
    monkeypatch.setattr(collectives_trial, "_COLLECTIVES", broken)

    assert main(["doctor", "--json"]) == 2

    shown = capfd.readouterr()
    report = json.loads(shown.out)
    failed = [check for check in report["checks"] if not check["ok"]]
    assert [(check["name"], check["detail"]) for check in failed] == [
        ("collectives", "worked before the error above: all_reduce")
    ]
    assert "error: reduce_scatter over gloo gives a wrong result" in shown.err


def test_a_missing_extension_fails(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("megatron_codemix._C", raising=False)
    monkeypatch.setitem(sys.modules, "megatron_codemix._C", None)

    assert main(["doctor"]) == 2

    screen = capfd.readouterr().out
    assert "FAIL  extension" in screen
    assert screen.rstrip().endswith("not ready: see FAIL above")


def test_too_little_disk_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_WANTED_DISK_BYTES", 2**60)

    assert main(["doctor", "--json"]) == 2
