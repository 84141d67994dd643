"""The way of a corpus from files to token shards, as the commands that a user would give."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Protocol

import yaml

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.store import PARTS_FOLDER
from megatron_codemix.corpus.writer import SUFFIX, utf8_bytes, write_documents
from megatron_codemix.data.tokenizer_training import train_tokenizer
from megatron_codemix.errors import RunError
from megatron_codemix.files import hash_file

_FILE_BYTES = 32_000_000
"""Of text in an input file; some 8 MB on disk, of which eight make a part."""
_CHANGED_EVERY = 4
"""Of so many words one is another each time that a text comes again: of five words in a row one at
least, so that the copies are no near-duplicates."""
_VOCABULARY = 4096
_ITEMS = 50
_ITEM_WORDS = 30
_POLICIES = {"code": "code", "markup": "markup"}
_ALL_TRAINING = ("--validation-fraction", "0")
_INPUT, _EVALUATION, _RECIPE, _TOKENIZER = "input", "evaluation", "recipe.yaml", "tokenizer.json"


@dataclass(frozen=True)
class StageCommand:
    """`codemix` with these arguments makes `out`; both are relative to the folder of a run."""

    name: str
    out: str
    arguments: tuple[str, ...]


def stage_commands(workers: int) -> list[StageCommand]:
    """In their order, each reading what the one before it has made."""
    stages = [
        ("recipe", "parts", ["corpus", "recipe", f"../{_RECIPE}", "--root", f"input=../{_INPUT}"]),
        ("filter", "filtered", ["corpus", "filter", "parts", "--keep-dropped"]),
        ("dedup", "deduplicated", ["corpus", "dedup", "filtered", "--keep-dropped"]),
        (
            "decontaminate",
            "clean",
            ["corpus", "decontaminate", "deduplicated", "--data-dir", f"../{_EVALUATION}"],
        ),
        ("split", "split", ["corpus", "split", "clean"]),
        (
            "prepare",
            "shards",
            ["data", "prepare", "split/train", "--tokenizer", f"../{_TOKENIZER}", *_ALL_TRAINING],
        ),
    ]
    more = ("--workers", str(workers))
    return [
        StageCommand(name, out, (*arguments, "--out", out, *more))
        for name, out, arguments in stages
    ]


def write_inputs(
    folder: Path,
    texts: Mapping[str, Sequence[Document]],
    num_bytes: int,
    advance: Callable[[float], None],
) -> int:
    """Files of `num_bytes` of text, an equal share of each source, with the recipe, the evaluation
    data and the tokenizer; returns the bytes of text. Texts that do not suffice come again with
    other words."""
    written = 0
    for source, documents in texts.items():
        stream = _again_and_again(documents)
        wanted, number = num_bytes // len(texts), 0
        while wanted > 0:
            file = f"{_INPUT}/{source}-{number:05d}{SUFFIX}"
            some = _of_bytes(stream, min(wanted, _FILE_BYTES))
            made = write_documents(folder, file, some)[0].num_bytes
            advance(made)
            wanted, written, number = wanted - made, written + made, number + 1
    _write_recipe(folder, list(texts))
    _write_evaluation(folder / _EVALUATION, [one for some in texts.values() for one in some])
    small = folder / "for-the-tokenizer"
    for source, documents in texts.items():
        write_documents(small, f"{source}{SUFFIX}", islice(documents, 300))
    train_tokenizer(small, _VOCABULARY, folder / _TOKENIZER)
    return written


def _again_and_again(documents: Sequence[Document]) -> Iterator[Document]:
    yield from documents
    turn = 0
    while True:
        turn += 1
        for one in documents:
            words = one.text.split(" ")
            place = turn % _CHANGED_EVERY
            changed = [f"{word}_{turn}" for word in words[place::_CHANGED_EVERY]]
            words[place::_CHANGED_EVERY] = changed
            name = f"{one.id}#{turn}"
            yield Document(name, one.source, one.path, name, one.licence, " ".join(words))


def _of_bytes(stream: Iterator[Document], wanted: int) -> Iterator[Document]:
    done = 0
    while done < wanted:
        document = next(stream)
        done += utf8_bytes(document.text)
        yield document


def _write_recipe(folder: Path, sources: Sequence[str]) -> None:
    sizes = {
        source: sum(path.stat().st_size for path in (folder / _INPUT).glob(f"{source}-*"))
        for source in sources
    }
    recipe = {
        "title": "Files of this machine",
        "roots": {_INPUT: _INPUT},
        "sources": {
            source: {
                "inputs": [{"files": f"{{{_INPUT}}}/{source}-*{SUFFIX}"}],
                "licence": "that of each file",
                "policy": _POLICIES.get(source, "prose"),
                "expected": {"file_bytes": sizes[source]},
            }
            for source in sources
        },
    }
    (folder / _RECIPE).write_text(yaml.safe_dump(recipe), encoding="utf-8")


def _write_evaluation(folder: Path, documents: Sequence[Document]) -> None:
    """Items in the form of GSM8K whose questions stand in documents, so that some are found."""
    long = [words for one in documents if len(words := one.text.split()) > 2 * _ITEM_WORDS]
    folder.mkdir()
    with open(folder / "gsm8k_test.jsonl", "w", encoding="utf-8") as handle:
        for words in long[:: max(1, len(long) // _ITEMS)]:
            item = {"question": " ".join(words[:_ITEM_WORDS]), "answer": "It is so. #### 1"}
            handle.write(json.dumps(item) + "\n")


class Process(Protocol):
    """What is used of `subprocess.Popen`."""

    pid: int

    def wait(self, timeout: float | None = None) -> int: ...


Start = Callable[[Sequence[str], Path, Path], Process]
"""Starts `codemix` with arguments, in a folder, its output appended to a file, as the leader of a
process group of its own."""


def start_command(arguments: Sequence[str], cwd: Path, log: Path) -> "subprocess.Popen[bytes]":
    """By this interpreter."""
    with open(log, "ab") as handle:
        return subprocess.Popen(
            [sys.executable, "-m", "megatron_codemix", *arguments],
            cwd=cwd,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": _python_path()},
        )


def _python_path() -> str:
    """With this package first, wherever the command is started."""
    root = str(Path(__file__).resolve().parents[3])
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])


def run_to_end(command: StageCommand, folder: Path, start: Start = start_command) -> None:
    """Raises RunError where the command fails, with the end of what it said."""
    _ends_within(None, command, folder, start)


def run_with_kills(
    command: StageCommand,
    folder: Path,
    moments: Sequence[float],
    start: Start = start_command,
) -> int:
    """Starts the command again and again; kills it and its workers that many seconds after each
    start, then lets it come to its end. Returns how often it was killed before it was done. Raises
    RunError where it fails by itself, at any start."""
    kills = sum(not _ends_within(seconds, command, folder, start) for seconds in moments)
    run_to_end(command, folder, start)
    return kills


def _ends_within(seconds: float | None, command: StageCommand, folder: Path, start: Start) -> bool:
    """Whether it does; else it is killed."""
    log = folder.with_suffix(".log")
    with _started(command, folder, start) as process:
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            return False
    if code != 0:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        raise RunError(
            f"codemix {' '.join(command.arguments)}: exit code {code}:\n" + "\n".join(tail)
        )
    return True


@contextmanager
def _started(command: StageCommand, folder: Path, start: Start) -> Iterator[Process]:
    """Nothing of it is left behind when the benchmark itself is stopped."""
    process = start(command.arguments, folder, folder.with_suffix(".log"))
    try:
        yield process
    except BaseException:
        _kill(process)
        raise


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def draw_moments(rng: Random, seconds: float, count: int) -> list[float]:
    """Random moments of a command that takes `seconds`. Few of the second half: after a kill it
    begins with what is left, and would be done by then."""
    return [rng.uniform(0.05, 0.6) * seconds for _ in range(count)]


def differences(one: Path, other: Path) -> list[str]:
    """Files below two folders that differ or that one of them lacks. The records of finished parts
    hold the times of files, so only that they are there is compared."""
    ours, theirs = _digests(one), _digests(other)
    return sorted(name for name in ours.keys() | theirs if ours.get(name) != theirs.get(name))


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            is_record = PARTS_FOLDER in path.relative_to(folder).parts
            digest = "" if is_record else hash_file(path)
            found[path.relative_to(folder).as_posix()] = digest
    return found
