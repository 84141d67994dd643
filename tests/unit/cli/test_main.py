"""What escapes from a command: a readable block, an exit code, a traceback only for bugs."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from megatron_codemix import __version__
from megatron_codemix.cli import main as main_module
from megatron_codemix.cli.main import COMMANDS, load_command, main
from megatron_codemix.errors import ConfigError, DataError, PreemptedError

INTERRUPTED = "interrupted; what was saved is kept: give the same command again\n"


def with_command(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    """`codemix doctor` raises `error`, or prints."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def doctor() -> None:
        if error is not None:
            raise error
        typer.echo("well")

    command = typer.main.get_command(app)
    monkeypatch.setattr(main_module, "load_command", lambda name: command)


def test_a_command_that_ends_well_is_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_command(monkeypatch, None)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "well\n"


@pytest.mark.parametrize(
    ("error", "code", "block"),
    [
        (ConfigError(["a:1: x: wrong", "y: no"]), 2, "error: a:1: x: wrong\nerror: y: no\n"),
        (DataError("a.bin: damaged"), 2, "error: a.bin: damaged\n"),
        (PreemptedError("stopped"), 75, "error: stopped\nthe same command may succeed later\n"),
        (KeyboardInterrupt(), 130, INTERRUPTED),
        (typer.Exit(75), 75, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_what_the_user_sees_and_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    block: str,
) -> None:
    with_command(monkeypatch, error)
    assert main(["doctor"]) == code
    captured = capsys.readouterr()
    assert captured.err == block
    assert captured.out == ""


def test_a_bug_shows_its_traceback_and_says_that_it_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_command(monkeypatch, ZeroDivisionError("oops"))
    assert main(["doctor"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: this is a bug in codemix (ZeroDivisionError)")


@pytest.mark.parametrize("arguments", [["--debug", "doctor"], ["doctor", "--debug"]])
def test_debug_shows_the_traceback_of_an_input_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with_command(monkeypatch, DataError("a.bin: damaged"))
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: a.bin: damaged\n")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["config", "nonsense"], ["config", "show"]]
)
def test_usage_errors_are_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"), [(["trian"], "'train'"), (["data", "prepar"], "'prepare'")]
)
def test_a_misspelt_command_is_told_the_right_one(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) == 2
    assert f"Did you mean {meant}" in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"codemix {__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert f" {name} " in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_command(name).name == name
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"codemix {name}" in out
    assert "--install-completion" not in out


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=False,
    )


def test_python_m_runs_the_same() -> None:
    result = run_python("-m", "megatron_codemix", "config", "check", "/nowhere.yaml")
    assert result.returncode == 2
    assert result.stderr.startswith("error: /nowhere.yaml: cannot be read")


def test_help_of_corpus_has_a_line_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    """What `Commands` shows is the first paragraph; a name stands at the begin of each line."""
    assert main(["corpus", "--help"]) == 0
    table = capsys.readouterr().out.partition(" Commands ")[2].splitlines()[1:]
    rows = [line.strip("\u2502| ").split(maxsplit=1) for line in table if "." in line]
    names = [name for name, _ in rows]
    assert names[:3] == ["local", "recipe", "filter"]
    assert len(rows) == 10
    for name, said in rows:
        assert said.split()[0] in ("Make", "Keep", "Leave", "Run"), (name, said)
        assert said.endswith("."), (name, said)


def test_help_imports_no_command() -> None:
    """`codemix --help` is fast because nothing but the help is loaded."""
    code = (
        "import sys; from megatron_codemix.cli.main import main; main(['--help']);"
        "heavy = {'torch', 'numpy', 'pydantic', 'yaml', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    result = run_python("-c", code)
    assert result.returncode == 0, result.stderr


def test_ctrl_c_in_a_real_process_is_130() -> None:
    code = (
        "import os, signal, time, typer\n"
        # A shell that starts this in the background leaves SIGINT ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from megatron_codemix.cli import main as m\n"
        "app = typer.Typer(pretty_exceptions_enable=False)\n"
        "@app.command()\n"
        "def doctor() -> None:\n"
        "    os.kill(os.getpid(), signal.SIGINT); time.sleep(60)\n"
        "m.load_command = lambda name: typer.main.get_command(app)\n"
        "raise SystemExit(m.main(['doctor']))\n"
    )
    result = run_python("-c", code)
    assert (result.returncode, result.stderr) == (130, INTERRUPTED)
