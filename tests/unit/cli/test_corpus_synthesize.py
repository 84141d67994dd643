"""`codemix corpus synthesize` and `verify`, as they are typed."""

import json
from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT

pytestmark = pytest.mark.usefixtures("isolation")


def test_the_same_command_gives_the_same_hash_and_what_it_wrote_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for name in ("one", "other"):
        out = str(tmp_path / name)
        asked = ["corpus", "synthesize", "--out", out, "--count", "5", "--seed", "1"]
        assert main([*asked, "--family", "lists", "--json"]) == EXIT_DONE
        said.append(json.loads(capsys.readouterr().out))
    assert said[0]["sha256"] == said[1]["sha256"]
    assert said[0]["count"] == 5
    assert said[0]["families"] == {"lists": 5}
    assert {"mutation_score", "difficulty", "rejected", "candidates", "seconds"} <= said[0].keys()
    assert said[0]["distinct_statements"] == 1.0
    assert main(["corpus", "verify", str(tmp_path / "one"), "--json"]) == EXIT_DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["documents"], found["failed"], found["distinct_statements"]) == (5, 0, 1.0)


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    asked = ["corpus", "synthesize", "--out", str(out), "--count", "5", "--seed", "1"]
    assert main([*asked, "--dry-run", "--json"]) == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["count"] == 5
    assert not out.exists()


def test_a_dry_run_refuses_what_the_command_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    asked = ["corpus", "synthesize", "--out", out, "--count", "3", "--family", "lists", "--seed"]
    assert main([*asked, "1"]) == EXIT_DONE
    capsys.readouterr()
    assert main([*asked, "1", "--dry-run", "--json"]) == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["is_complete"] is True
    for more in ([], ["--dry-run"]):
        assert main([*asked, "2", *more]) == EXIT_INPUT
        assert "another corpus is there" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    asked[3] = str(tmp_path / "mine")
    assert main([*asked, "1", "--dry-run"]) == EXIT_INPUT


def test_an_unknown_family_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["corpus", "synthesize", "--out", str(tmp_path / "out"), "--count", "5", "--seed", "1"]
    assert main([*asked, "--family", "poetry"]) == EXIT_INPUT
    assert "'poetry'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "0"], "--count"),
        (["--count", "5", "--translate", "ruby"], "'ruby'; there is javascript"),
        (["--count", "5", "--translate", "javascript", "--endpoint", "http://127.0.0.1:9/v1"],
         "into two folders"),
        (["--count", "5", "--model", "any"], "only with --endpoint"),
        (["--count", "5", "--endpoint", "http://127.0.0.1:9/v1"], "--model and --seed-documents"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["corpus", "synthesize", "--out", str(tmp_path / "out"), "--seed", "1", *options]
    assert main(asked) == EXIT_INPUT
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_folder_without_synthetic_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["corpus", "verify", str(tmp_path / "nothing")]) == EXIT_INPUT
    assert "no such corpus folder" in capsys.readouterr().err
