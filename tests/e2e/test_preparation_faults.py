"""Preparation killed at random points, and on a disk that fills up: the same command again gives
the bytes of a run that was not disturbed. Real processes."""

import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from megatron_codemix.data.tokenizer_training import train_tokenizer

ROOT = Path(__file__).resolve().parents[2]
CODEMIX = [sys.executable, "-m", "megatron_codemix"]
WORDS = ("alpha", "beta", "gamma", "value", "return", "print", "import", "some", "of", "the")
NUM_KILLS = 3
DISK_BYTES = 4_000_000


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """corpus/text.jsonl.gz of 3 MB in 3,000 documents, and a tokenizer.json for it."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "corpus").mkdir()
    numbers = random.Random(1)
    with gzip.open(folder / "corpus" / "text.jsonl.gz", "wt", compresslevel=1) as lines:
        for number in range(3000):
            text = " ".join(numbers.choices(WORDS, k=200))
            lines.write(json.dumps({"id": f"{number}", "text": text}) + "\n")
    train_tokenizer(folder / "corpus", 300, folder / "tokenizer.json", max_bytes=50_000)
    return folder


def preprocess(inputs: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, str(ROOT / "tools" / "preprocess_data.py")),
        *("--input", str(inputs / "corpus"), "--output-prefix", str(out / "shard")),
        *("--tokenizer-type", "HuggingFaceTokenizer", "--append-eod", "--workers", "2"),
        *("--tokenizer-model", str(inputs / "tokenizer.json")),
    ]


def prepare(inputs: Path, out: Path, *options: str) -> list[str]:
    tokenizer = str(inputs / "tokenizer.json")
    command = [*CODEMIX, "data", "prepare", str(inputs / "corpus"), "--tokenizer", tokenizer]
    return [*command, "--out", str(out), *options]


def start(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(command: list[str]) -> None:
    process = start(command)
    output, _ = process.communicate()
    assert process.returncode == 0, output


def steps(folder: Path) -> int:
    """Grows with the work: files, and 64 kB that they hold. The folder changes meanwhile."""
    count = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                count += 1 + os.stat(os.path.join(path, name)).st_size // 65_536
            except FileNotFoundError:
                continue
    return count


def run_until(command: list[str], folder: Path, limit: int) -> int:
    """Kills the command once `folder` is that far; returns how far it was seen."""
    process = start(command)
    furthest = 0
    while process.poll() is None and furthest < limit:
        furthest = max(furthest, steps(folder))
    process.kill()
    process.communicate()
    return furthest


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(("name", "seed"), [("preprocess", 2), ("prepare", 1), ("merge", 2)])
def test_kills_at_random_points_change_no_byte(tmp_path: Path, inputs: Path, name: str, seed: int):
    commands = {
        "preprocess": lambda out: preprocess(inputs, out),
        "prepare": lambda out: prepare(inputs, out, "--workers", "2"),
        "merge": lambda out: [*CODEMIX, "data", "merge", str(out)],
    }
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        if name == "merge":
            for part in ("1/2", "2/2"):
                finish(prepare(inputs, folder, "--shard", part))
    furthest = run_until(commands[name](whole), whole, 10**9)
    numbers = random.Random(seed)
    first = steps(killed)  # of what a merge starts from
    for _ in range(NUM_KILLS):
        run_until(commands[name](killed), killed, numbers.randint(first + 1, furthest))
    finish(commands[name](killed))
    assert contents(killed) == contents(whole)


@pytest.mark.parametrize("free_bytes", [100_000, 1_200_000, 2_000_000])
def test_a_full_disk_is_named_and_costs_nothing(
    tmp_path: Path, disk: Path, inputs: Path, free_bytes: int
):
    finish(preprocess(inputs, tmp_path))
    whole = {name: data for name, data in contents(tmp_path).items() if name.startswith("shard")}
    (disk / "filler").write_bytes(bytes(DISK_BYTES - free_bytes))
    process = start(preprocess(inputs, disk))
    output, _ = process.communicate()
    assert process.returncode == 2, output
    assert "the disk is full" in output
    assert "Traceback" not in output
    assert not (disk / "shard_text_document.manifest.json").exists()
    (disk / "filler").unlink()
    finish(preprocess(inputs, disk))
    assert contents(disk) == whole
