"""The figures of a corpus as JSON values: counts of one pass, and what its stages have recorded."""

import json
from collections.abc import Mapping
from pathlib import Path

from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.filters.policy import default_policy
from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.corpus.record import CorpusRecord, StageRecord, load_corpus
from megatron_codemix.corpus.statistics.count import CorpusCounts
from megatron_codemix.corpus.statistics.languages import expected_shares
from megatron_codemix.corpus.statistics.lengths import Lengths
from megatron_codemix.corpus.statistics.source_counts import SourceCounts
from megatron_codemix.corpus.store import source_files
from megatron_codemix.errors import DataError
from megatron_codemix.files import read_json

PERCENTILES = (5, 25, 50, 75, 95, 99)
DUPLICATES_FILE = "duplicates.json"
CONTAMINATION_FILE = "contamination.json"


def summarise(corpus: Path, counts: CorpusCounts) -> dict[str, JsonValue]:
    """Raises DataError: a report of a stage that is no such report."""
    record = load_corpus(corpus)
    files = source_files(corpus)
    sources = {name: _source(name, counts.sources[name], files[name]) for name in files}
    return {
        "corpus": str(corpus),
        "has_record": record is not None,
        **{key: sum(source[key] for source in sources.values())
           for key in ("files", "file_bytes", "documents", "bytes")},
        "sources": sources,
        "stages": [_stage(stage) for stage in record.stages] if record else [],
        "duplicates": {
            "found": _report_of(corpus / DUPLICATES_FILE, ("pairs", "cluster_sizes", "examples")),
            "still_there": counts.repeats.to_json(),
            "was_searched": _was_done(record, "dedup"),
        },
        "contamination": _contamination(corpus / CONTAMINATION_FILE),
        "dropped_samples": {
            name: {reason: lowest.values() for reason, lowest in sorted(found.by_reason.items())}
            for name, found in sorted(counts.dropped.items())
        },
    }  # fmt: skip


def _source(name: str, counts: SourceCounts, files: tuple[InputFile, ...]) -> dict[str, JsonValue]:
    return {
        "files": len(files),
        "file_bytes": sum(file.num_bytes() for file in files),
        "documents": counts.lengths.number,
        "bytes": counts.lengths.total,
        "train_documents": counts.train_documents,
        "train_bytes": counts.train_bytes,
        "licences": counts.licences.to_json(),
        "lengths": _lengths(counts.lengths),
        "languages": {
            "natural": counts.natural.to_json(),
            "programming": counts.programming.to_json(),
            "expected_percent": expected_shares(name),
            "is_prose": default_policy(name) == "prose",
        },
        "synthetic": counts.synthetic.to_json(),
        "not_read": counts.skipped.to_json(),
        "samples": counts.samples.values(),
    }


def _lengths(lengths: Lengths) -> JsonValue:
    """In bytes of UTF-8; None where there is no document."""
    values = lengths.quantiles([percent / 100 for percent in PERCENTILES])
    if values is None:
        return None
    return {
        "mean": round(lengths.total / lengths.number, 1),
        "shortest": lengths.shortest,
        "longest": lengths.longest,
        "percentiles": {
            str(percent): value for percent, value in zip(PERCENTILES, values, strict=True)
        },
        "histogram": [
            {"from": round(2 ** (place / 2), 1), "below": round(2 ** ((place + 1) / 2), 1),
             "documents": count}
            for place, count in lengths.histogram()
        ],
    }  # fmt: skip


def _stage(stage: StageRecord) -> dict[str, JsonValue]:
    names = sorted({*stage.num_read, *stage.dropped, *stage.changed, *stage.tallies})
    return {
        "name": stage.name,
        "sources": {name: _stage_of_source(stage, name) for name in names},
    }


def _stage_of_source(stage: StageRecord, name: str) -> dict[str, JsonValue]:
    """`read` and `kept` are None where the stage has not recorded what it read."""
    skipped = stage.dropped.get(name)
    num_dropped = sum(skipped.counts.values()) if skipped else 0
    num_read = stage.num_read.get(name)
    return {
        "read": num_read,
        "kept": None if num_read is None else num_read - num_dropped,
        "num_dropped": num_dropped,
        "dropped": skipped.to_json() if skipped else {},
        "changed": stage.changed.get(name, {}),
        "tallies": stage.tallies.get(name, {}),
    }


def _was_done(record: CorpusRecord | None, name: str) -> bool:
    return record is not None and any(stage.name == name for stage in record.stages)


def _contamination(path: Path) -> list[JsonValue] | None:
    rows = _read(path)
    if rows is None:
        return None
    needed = {"task", "items", "items_found", "documents_hit", "examples"}
    if isinstance(rows, list) and all(
        isinstance(row, dict) and needed <= row.keys() for row in rows
    ):
        return rows
    raise DataError(_no_report(path, "decontaminate"))


def _report_of(path: Path, keys: tuple[str, ...]) -> Mapping[str, JsonValue] | None:
    report = _read(path)
    if report is None or (isinstance(report, dict) and set(keys) <= report.keys()):
        return report
    raise DataError(_no_report(path, "dedup"))


def _read(path: Path) -> JsonValue:
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON ({error}); remove it, or run the stage again") from error


def _no_report(path: Path, stage: str) -> str:
    return f"{path}: not a report of `codemix corpus {stage}`; remove it, or run the stage again"
