"""A corpus from files to shards, every stage killed with its workers at random moments: the same
bytes as one that nobody disturbs."""

import json
import os
import pydoc_data.topics
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from megatron_codemix.bench.corpus.pipeline import (
    StageCommand,
    differences,
    draw_moments,
    run_to_end,
    run_with_kills,
    stage_commands,
    write_inputs,
)
from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.record import load_corpus
from tests.helpers.commands import Command
from tests.helpers.kills import ROOT, contents

pytest.importorskip("datatrove")

KILLS = 3
NUM_BYTES = 4_000_000


class Group:
    """A command with its workers, as the pipeline starts it; what it says goes to the log."""

    def __init__(self, arguments: Sequence[str], cwd: Path, log: Path) -> None:
        self._command = Command(arguments, cwd, leads_group=True)
        self._log = log
        self.pid = self._command.pid
        while self._command.poll() is None and os.getpgid(self.pid) != self.pid:
            time.sleep(0.001)

    def wait(self, timeout: float | None = None) -> int:
        code = self._command.wait(timeout)
        with open(self._log, "a") as log:
            log.write(self._command.communicate()[0])
        return code


def own_texts() -> dict[str, list[Document]]:
    """This repository's code, the documentation here and that of Python."""
    files = {
        "code": sorted((ROOT / "megatron_codemix").rglob("*.py")),
        "markup": [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))],
        "tests": sorted((ROOT / "tests").rglob("*.py")),
    }
    texts = {
        source: [
            Document(path.as_posix(), source, path.name, path.as_posix(), "MIT", path.read_text())
            for path in paths
        ]
        for source, paths in files.items()
    }
    topics = sorted(pydoc_data.topics.topics.items())
    texts["text"] = [Document(name, "text", name, name, "PSF-2.0", text) for name, text in topics]
    # Planted: equal, and nearly.
    some = texts["text"][:20]
    texts["text"] += [
        Document(f"{one.id} again", "text", one.path, f"{one.id} again", None, text)
        for one in some
        for text in (f" {one.text}\n", one.text + " one more word")
    ]
    return texts


def instructions(folder: Path) -> StageCommand:
    """Another source of conversations."""
    with open(folder / "chats.jsonl", "w") as handle:
        for number in range(2000):
            turns = [("user", f"What is {number} + 1?"), ("assistant", f"It is {number + 1}.")]
            messages = [{"role": role, "content": text} for role, text in turns]
            handle.write(json.dumps({"messages": messages}) + "\n")
    asked = ("corpus", "instructions", "../chats.jsonl", "--kind", "text", "--out", "chats")
    return StageCommand("instructions", "chats", asked)


def test_kills_at_every_stage_change_no_byte(tmp_path: Path) -> None:
    write_inputs(tmp_path, own_texts(), NUM_BYTES, lambda _: None)
    commands = [*stage_commands(workers=2), instructions(tmp_path)]
    alone, struck = tmp_path / "undisturbed", tmp_path / "struck"
    alone.mkdir()
    struck.mkdir()
    rng = Random(1)
    kills = {}
    for command in commands:
        start = time.monotonic()
        run_to_end(command, alone, Group)
        moments = draw_moments(rng, time.monotonic() - start, KILLS)
        kills[command.name] = run_with_kills(command, struck, moments, Group)
        assert differences(alone / command.out, struck / command.out) == [], command.name
    assert sum(kills.values()) >= len(commands), kills
    assert contents(struck / "shards")
    assert dropped(struck / "deduplicated") == {"exact duplicate", "near-duplicate"}
    assert dropped(struck / "clean") == {"holds evaluation items"}


def dropped(corpus: Path) -> set[str]:
    """Reasons of the last stage."""
    record = load_corpus(corpus)
    assert record is not None
    return {reason for source in record.stages[-1].dropped.values() for reason in source.counts}


def test_a_difference_is_seen(tmp_path: Path) -> None:
    for name in ("one", "other"):
        for file in ("part", ".parts/code/00000.json", "deep/part"):
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name if file.startswith(".parts") else "same")
    one, other = tmp_path / "one", tmp_path / "other"
    assert differences(one, other) == []
    (one / "deep" / "part").write_text("changed")
    (other / ".parts" / "left.tmp").write_text("")
    assert differences(one, other) == [".parts/left.tmp", "deep/part"]
