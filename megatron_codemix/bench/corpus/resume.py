"""A corpus that is killed at every stage beside one that is left alone: each file is to be the
same."""

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from shutil import rmtree

from megatron_codemix.bench.corpus.pipeline import (
    StageCommand,
    differences,
    draw_moments,
    run_to_end,
    run_with_kills,
    stage_commands,
    write_inputs,
)
from megatron_codemix.bench.corpus.setting import RESUME_BYTES, Setting, texts_of
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.corpus.local.build import build_local_corpus
from megatron_codemix.files import require_free_bytes

WORKERS = 2
KILLS = 4
"""Of each stage, at most: one that is done sooner is left alone."""
_SEED = 1
_LOCAL_BYTES = 64_000_000
"""Of each source from this machine; what is wanted beyond it is the same with other words."""
_DISK_SHARE = 4
"""Of the text: both runs' files, compressed, and the shards of both."""


def resume(setting: Setting) -> Iterator[Row]:
    """Recipe, filter, dedup, decontaminate, split and prepare of local files."""
    folder = setting.folder / "resume"
    require_free_bytes(setting.folder, _DISK_SHARE * setting.resume_bytes, "two runs of a corpus")
    num_bytes = _write_inputs(setting, folder)
    commands = stage_commands(WORKERS)
    alone, struck = folder / "undisturbed", folder / "struck"
    alone.mkdir()
    struck.mkdir()
    rng = Random(_SEED)
    kills: dict[str, int] = {}
    different: dict[str, list[str]] = {}
    with setting.progress("resume", len(commands) * (KILLS + 2), "starts") as advance:
        for command in commands:
            seconds = _timed(command, alone)
            advance(1)
            moments = draw_moments(rng, seconds, KILLS)
            kills[command.name] = run_with_kills(command, struck, moments)
            different[command.name] = differences(alone / command.out, struck / command.out)
            advance(KILLS + 1)
    row = _row(num_bytes, kills, different)
    yield row if num_bytes >= RESUME_BYTES else row.unjudged()
    rmtree(folder)


def _write_inputs(setting: Setting, folder: Path) -> int:
    corpus = setting.corpus
    if corpus is None:
        corpus = setting.folder / "resume-local"
        share = max(1, min(_LOCAL_BYTES, setting.resume_bytes // 3))
        with setting.progress("files of this machine", None, "bytes") as advance:
            build_local_corpus(corpus, source_bytes=share, advance=advance)
    folder.mkdir()
    with setting.progress("input", setting.resume_bytes, "bytes") as advance:
        return write_inputs(folder, texts_of(corpus), setting.resume_bytes, advance)


def _timed(command: StageCommand, folder: Path) -> float:
    start = time.monotonic()
    run_to_end(command, folder)
    return time.monotonic() - start


def _row(num_bytes: int, kills: dict[str, int], different: dict[str, list[str]]) -> Row:
    counts = ", ".join(f"{name} {count}" for name, count in kills.items())
    unlike = [f"{name}: {', '.join(files[:3])}" for name, files in different.items() if files]
    return Row(
        name=f"resume: stages equal after kills, {num_bytes / 1e9:.2f} GB of text",
        ours=sum(not files for files in different.values()),
        peer=None,
        unit="stages",
        goal=Goal(at_least=len(different)),
        note=f"{sum(kills.values())} kills of all processes: {counts}"
        + "".join(f"; differ: {one}" for one in unlike),
    )
