"""Text to tokens: our preprocess_data beside the one of Megatron-LM."""

import filecmp
from collections.abc import Iterator
from pathlib import Path

from megatron_codemix.bench.data import memory_jobs
from megatron_codemix.bench.data.ours import preprocess
from megatron_codemix.bench.data.peer_preparation import preprocess as preprocess_as_peer
from megatron_codemix.bench.data.setting import Setting
from megatron_codemix.bench.data.synthetic import text_file, trained_tokenizer
from megatron_codemix.bench.measure import Trial, tree_memory_of
from megatron_codemix.bench.rows import Goal, Row

TEXT_BYTES = 30_000_000
LARGE_TEXT_BYTES = 4 * TEXT_BYTES
WORKERS = 2


def preparation(setting: Setting) -> Iterator[Row]:
    """CPU of 30 MB of text with a byte-level BPE of 50,257 entries, and memory at four times
    that."""
    text = text_file(setting.folder, setting.scaled(TEXT_BYTES))
    tokenizer = trained_tokenizer(setting.folder, text)
    ours, peer = setting.folder / "prepared-ours", setting.folder / "prepared-peer"
    costs = setting.compare(
        {
            "ours": Trial(
                lambda: preprocess(text, tokenizer, ours, WORKERS),
                before=lambda: _remove_outputs(ours),
            ),
            "peer": Trial(
                lambda: preprocess_as_peer(text, tokenizer, peer, WORKERS),
                before=lambda: _remove_outputs(peer),
            ),
        },
        is_slow=True,
    )
    title = f"preparation of {text.stat().st_size / 1e6:,.1f} MB of JSONL"
    yield Row(
        name=f"{title}: CPU",
        ours=costs["ours"].user,
        peer=costs["peer"].user,
        unit="s",
        goal=Goal(ratio=75),
        note=f"{WORKERS} workers, theirs counted; median of {setting.slow_repeats}",
        ours_system_seconds=costs["ours"].system,
        peer_system_seconds=costs["peer"].system,
    )
    yield Row(
        name=f"{title}: files that differ from the peer's",
        ours=sum(
            not filecmp.cmp(f"{ours}_text_document.{suffix}", f"{peer}.{suffix}", shallow=False)
            for suffix in ("bin", "idx")
        ),
        peer=None,
        unit="",
        goal=Goal(at_most=0),
    )
    for size in (TEXT_BYTES, LARGE_TEXT_BYTES):
        for workers in (1, WORKERS):
            yield _memory(setting, setting.scaled(size), tokenizer, workers)


def _memory(setting: Setting, num_bytes: int, tokenizer: Path, workers: int) -> Row:
    text = text_file(setting.folder, num_bytes)
    prefix = setting.folder / "memory"
    peak = tree_memory_of(
        f"{memory_jobs.__name__}:our_preparation",
        text=str(text),
        tokenizer=str(tokenizer),
        prefix=str(prefix),
        workers=workers,
    )
    _remove_outputs(prefix)
    return Row(
        name=f"preparation of {num_bytes / 1e6:,.1f} MB of JSONL: peak memory, workers: {workers}",
        ours=peak / 1e6,
        peer=None,
        unit="MB",
        goal=Goal(at_most=300),
        note="all processes together, the interpreter included",
    )


def _remove_outputs(prefix: Path) -> None:
    for path in prefix.parent.glob(f"{prefix.name}*"):
        path.unlink()
