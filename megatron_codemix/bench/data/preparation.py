"""Text to tokens: our preprocess_data beside the one of Megatron-LM."""

import filecmp
from collections.abc import Iterator
from pathlib import Path

from megatron_codemix.bench.data import memory_jobs
from megatron_codemix.bench.data.setting import Setting
from megatron_codemix.bench.data.synthetic import text_file, trained_tokenizer
from megatron_codemix.bench.measure import Trial, memory_of, tree_memory_of
from megatron_codemix.bench.rows import Goal, Row

TEXT_BYTES = 105_000_000
WORKERS = 2


def preparation(setting: Setting) -> Iterator[Row]:
    """CPU and memory of 105 MB of text with a byte-level BPE of 50,257 entries."""
    text = text_file(setting.folder, setting.scaled(TEXT_BYTES))
    tokenizer = trained_tokenizer(setting.folder, text)
    ours, peer = setting.folder / "prepared-ours", setting.folder / "prepared-peer"
    trials = {
        f"ours, {count}": _trial("our_preparation", text, tokenizer, ours, count)
        for count in (1, WORKERS)
    }
    trials["peer"] = _trial("peer_preparation", text, tokenizer, peer, WORKERS)
    costs = setting.compare(trials, is_slow=True)
    title = f"preparation of {text.stat().st_size / 1e6:,.1f} MB of JSONL"
    for count in (1, WORKERS):
        cost = costs[f"ours, {count}"]
        yield Row(
            name=f"{title}, {_workers(count)}: CPU",
            ours=cost.user,
            peer=costs["peer"].user,
            unit="s",
            goal=Goal(ratio=75),
            note=f"from the start of Python on; the peer has {WORKERS} workers; median of "
            f"{setting.slow_repeats}",
            ours_system_seconds=cost.system,
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
    for count in (1, WORKERS):
        yield _memory(setting, text, tokenizer, count)


def _trial(job: str, text: Path, tokenizer: Path, prefix: Path, workers: int) -> Trial:
    """In a process of its own, as the tool runs: one with threads could not fork its workers."""
    return Trial(
        lambda: memory_of(
            f"{memory_jobs.__name__}:{job}",
            text=str(text),
            tokenizer=str(tokenizer),
            prefix=str(prefix),
            workers=workers,
        ),
        before=lambda: _remove_outputs(prefix),
    )


def _workers(count: int) -> str:
    return "one worker" if count == 1 else f"{count} workers"


def _memory(setting: Setting, text: Path, tokenizer: Path, workers: int) -> Row:
    prefix = setting.folder / "memory"
    peak = tree_memory_of(
        f"{memory_jobs.__name__}:our_preparation",
        text=str(text),
        tokenizer=str(tokenizer),
        prefix=str(prefix),
        workers=workers,
    )
    _remove_outputs(prefix)
    size = f"{text.stat().st_size / 1e6:,.1f} MB of JSONL"
    return Row(
        name=f"preparation of {size}, {_workers(workers)}: peak memory",
        ours=peak / 1e6,
        peer=None,
        unit="MB",
        goal=Goal(at_most=300),
        note="all processes together, the interpreter included",
    )


def _remove_outputs(prefix: Path) -> None:
    for path in prefix.parent.glob(f"{prefix.name}*"):
        path.unlink()
