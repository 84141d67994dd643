"""How fast documents are read and written again, and conversations made documents."""

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import numpy as np

from megatron_codemix.bench.corpus.made_up import draw_runs
from megatron_codemix.bench.corpus.setting import MEGABYTE, Setting, megabytes_per_second
from megatron_codemix.bench.measure import Trial, alternate
from megatron_codemix.bench.rows import Row
from megatron_codemix.corpus.instructions.build import InstructionFiles, build_instructions
from megatron_codemix.corpus.stages.run import run_stage
from megatron_codemix.corpus.stages.split_stage import SplitStage
from megatron_codemix.corpus.store import source_files, source_sizes

_HELD_OUT = 0.05
_SEED = 1


def reading(setting: Setting) -> Iterator[Row]:
    """The cheapest stage, which is reading and writing alone; instructions."""
    corpus = setting.local_corpus()
    split_bytes = sum(source_sizes(corpus, source_files(corpus)).values())
    chats = setting.folder / "chats.jsonl"
    chat_bytes = _write_chats(chats, setting.number(20 * MEGABYTE, MEGABYTE))
    out = setting.folder / "read"

    def afresh() -> None:
        rmtree(out, ignore_errors=True)

    asked = InstructionFiles(patterns=[str(chats)], source="text_instructions")
    costs = alternate(
        {
            "split": Trial(lambda: run_stage(SplitStage("train", _HELD_OUT), corpus, out), afresh),
            "instructions": Trial(lambda: build_instructions(out, asked), afresh),
        },
        setting.repeats,
    )
    rows = {
        "split": ("reading and writing (split)", split_bytes),
        "instructions": ("instructions from JSON lines", chat_bytes),
    }
    for key, (name, num_bytes) in rows.items():
        yield Row(
            name=f"{name}, {num_bytes / MEGABYTE:.1f} MB of text",
            ours=megabytes_per_second(num_bytes, costs[key]),
            peer=None,
            unit="MB/s",
            is_rate=True,
            note=f"a core; median of {setting.repeats}",
            ours_system_seconds=costs[key].system,
        )


def _write_chats(path: Path, num_bytes: int) -> int:
    """Conversations of two questions and answers each; returns the bytes of their texts."""
    rng = np.random.default_rng(_SEED)
    written = 0
    with open(path, "w", encoding="utf-8") as handle:
        while written < num_bytes:
            turns = [" ".join(draw_runs(rng, count)) for count in (8, 60, 8, 60)]
            written += sum(len(turn.encode()) for turn in turns)
            messages = [
                {"role": ("user", "assistant")[number % 2], "content": turn}
                for number, turn in enumerate(turns)
            ]
            handle.write(json.dumps({"messages": messages}) + "\n")
    return written
