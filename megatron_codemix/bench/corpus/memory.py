"""Memory of each stage on a generated corpus, and on a tenth of it: it is not to grow with it."""

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from megatron_codemix.bench.corpus import memory_jobs
from megatron_codemix.bench.corpus.setting import STREAM_BYTES, Setting
from megatron_codemix.bench.corpus.stream import link_some, write_stream
from megatron_codemix.bench.measure import tree_memory_of
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.corpus.record import load_corpus

WORKERS = 2
STAGES = ("filter", "dedup", "decontaminate", "split")
_SMALL_SHARE = 0.1
_POLL_SECONDS = 0.2  # to look costs milliseconds, of which a long run has enough


@dataclass(frozen=True)
class _Measured:
    """A run of a stage."""

    peak: int
    seconds: float
    """Of processor time, without what watching it takes."""
    num_read: int
    num_kept: int


def memory(setting: Setting) -> Iterator[Row]:
    """The most bytes that all processes of a stage had together."""
    whole, some = setting.folder / "stream", setting.folder / "some"
    num_bytes = write_stream(whole, setting.stream_bytes, setting.progress)
    small_bytes = round(num_bytes * link_some(whole, some, _SMALL_SHARE))
    for stage in STAGES:
        yield _row(stage, small_bytes, _measure(stage, some, small_bytes), has_goal=False)
        row = _row(stage, num_bytes, _measure(stage, whole, num_bytes), has_goal=True)
        yield row if num_bytes >= STREAM_BYTES else row.unjudged()
    rmtree(whole)
    rmtree(some)


def _measure(stage: str, corpus: Path, num_bytes: int) -> _Measured:
    out = corpus.with_name("out")
    arguments = {"corpus": str(corpus), "out": str(out), "workers": WORKERS}

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    job = f"{memory_jobs.__name__}:run_{stage}"
    peak = tree_memory_of(job, poll_seconds=_POLL_SECONDS, **arguments, num_bytes=num_bytes)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    record = load_corpus(out)
    assert record is not None, out
    num_kept = sum(source.num_documents for source in record.sources.values())
    rmtree(out)
    return _Measured(peak, seconds, sum(record.stages[-1].num_read.values()), num_kept)


def _row(stage: str, num_bytes: int, measured: _Measured, *, has_goal: bool) -> Row:
    return Row(
        name=f"peak memory: {stage}, {num_bytes / 1e6:,.0f} MB of text",
        ours=measured.peak / 1e6,
        peer=None,
        unit="MB",
        goal=Goal(at_most=1000) if has_goal else None,
        note=f"{WORKERS} workers, all processes together; kept {measured.num_kept:,} of "
        f"{measured.num_read:,} documents; {measured.seconds:,.0f} s of processor time",
    )
