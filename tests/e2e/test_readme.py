"""Every command in the README is run, in its order, in an empty folder, as a reader would.

Long ones get documented flags that make them short: `--scale`, and a few pages of markup in place
of all that this machine has, which each model would be evaluated on. The second quickstart is
interrupted three times and must end with the report of the first, which was not.
"""

import html
import json
import pydoc_data.topics
import re
import shlex
import shutil
import signal
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.commands import codemix, python, start_codemix

REPOSITORY = Path(__file__).resolve().parents[2]
SCALE = ["--scale", "0.01"]
OWN_FILES = ["--text", "texts/*.jsonl", "--code", "src/**/*.py"]
FEW_PAGES = ["--markup", "pages/*.html"]
FEW_PROBLEMS = ["--count", "60"]
FEW_TOKENS = ["train.train_tokens=60K", "checkpoint.save_every_tokens=30K"]
TIMEOUT_SECONDS = 1800


def readme_commands() -> list[list[str]]:
    """The lines of the README's `sh` blocks, split as a shell does."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user: the examples, some prose, some code, some pages."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("examples", "tools"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "texts").mkdir()
    (folder / "pages").mkdir()
    with open(folder / "texts" / "topics.jsonl", "w", encoding="utf-8") as lines:
        for name, topic in sorted(pydoc_data.topics.topics.items()):
            lines.write(json.dumps({"id": name, "text": topic}) + "\n")
            page = f"<html><h1>{html.escape(name)}</h1><pre>{html.escape(topic)}</pre></html>"
            (folder / "pages" / f"{name}.html").write_text(page, encoding="utf-8")
    write_benchmark(folder / "data/eval")
    standard_library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(standard_library.glob("[a-m]*.py")):
        (folder / "src").mkdir(exist_ok=True)
        shutil.copy(path, folder / "src" / path.name)
    return folder


def write_benchmark(folder: Path) -> None:
    """Some questions in the form of ARC's."""
    folder.mkdir(parents=True)
    with open(folder / "arc_easy.jsonl", "w", encoding="utf-8") as lines:
        for number in range(20):
            choices = {"text": ["yes", "no"], "label": ["A", "B"]}
            item = {"question": f"Is {number} even?", "choices": choices}
            lines.write(json.dumps(item | {"answerKey": "AB"[number % 2]}) + "\n")


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_every_command_works(workspace: Path) -> None:
    for command in readme_commands():
        run = as_run(command)
        if run == ["test"]:  # this is it
            continue
        if "runs/mine" in run:
            run_interrupted(run, workspace)
            continue
        done = python(*run, cwd=workspace) if is_tool(command) else codemix(*run, cwd=workspace)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    whole, interrupted = (
        json.loads((workspace / "runs" / name / "report.json").read_text())
        for name in ("quickstart", "mine")
    )
    assert comparable(interrupted) == comparable(whole)
    check_report(whole)


def as_run(command: list[str]) -> list[str]:
    """The arguments of `codemix` for a line of the README, shortened where it is long."""
    program, *arguments = command
    if program == "make":
        if arguments == ["test"]:
            return arguments
        return ["quickstart", *OWN_FILES, *FEW_PAGES, *SCALE]
    if is_tool(command):
        return arguments
    assert program == "codemix", command
    return [*arguments, *shorter(arguments)]


def shorter(arguments: list[str]) -> list[str]:
    """What makes a long command short."""
    if arguments[0] == "quickstart":
        return [*FEW_PAGES, *SCALE]
    if arguments[0] == "train" and "--run-dir" in arguments:
        return FEW_TOKENS
    if arguments[:2] == ["corpus", "synthesize"]:
        return FEW_PROBLEMS
    scaled = [["study", name] for name in ("plan", "run", "status", "report")]
    return SCALE if arguments[:2] in scaled else []


def is_tool(command: list[str]) -> bool:
    """A script in tools/."""
    return command[0] == "python" and command[1].startswith("tools/")


def run_interrupted(arguments: list[str], workspace: Path) -> None:
    """Killed while it makes the data, asked to stop in the first phase, killed in the third; then
    to the end."""
    out = workspace / "runs" / "mine"
    stops: list[tuple[signal.Signals, Callable[[], bool]]] = [
        (signal.SIGKILL, lambda: (out / "data" / "tokenizer.json").exists()),
        (signal.SIGINT, lambda: trained_phases(out) >= 1),
        (signal.SIGKILL, lambda: trained_phases(out) >= 3),
    ]
    for number, is_time in stops:
        process = start_codemix(arguments, workspace)
        while not is_time():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate()
        assert process.returncode in (-number, 75), number
    process = start_codemix(arguments, workspace)
    output = process.communicate()
    assert process.returncode == 0, output


def trained_phases(out: Path) -> int:
    """Phases with a line of metrics."""
    return sum(path.stat().st_size > 0 for path in out.glob("*/*/metrics.jsonl"))


def comparable(report: dict[str, object]) -> dict[str, object]:
    """The report without what measures time, counts starts or names the checkout's state."""
    left_out = {"cost", "timing", "wall_seconds", "commit"}
    return {name: value for name, value in report.items() if name not in left_out}


def check_report(report: dict[str, object]) -> None:
    names = [variant["name"] for variant in report["variants"]]
    assert len(names) == 5
    assert report["ledger_max_error_samples"] < 1
    for variant in report["variants"]:
        assert set(variant["heldout"]) == {"code", "markup", "text"}
        for source, values in variant["heldout"].items():
            base = report["variants"][0]["heldout"][source]["bits_per_byte"]
            assert values["relative"] == pytest.approx((values["bits_per_byte"] - base) / base)
            assert 0 < values["bits_per_byte"] < 8
