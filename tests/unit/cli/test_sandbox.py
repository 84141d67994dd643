"""`codemix sandbox check`, as it is typed."""

import json

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT


@pytest.mark.usefixtures("isolation")
def test_check_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sandbox", "check", "--json"]) == EXIT_DONE
    report = json.loads(capsys.readouterr().out)
    assert report["isolated"] is True
    assert report["milliseconds_per_program"] > 0


def test_a_machine_that_cannot_isolate_is_told_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert main(["sandbox", "check"]) == EXIT_INPUT
    assert "riscv64" in capsys.readouterr().err
