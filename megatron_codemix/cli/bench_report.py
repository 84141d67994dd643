"""What the commands of `codemix bench` print: rows as a table or as JSON, and the machine."""

import json as json_module
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from megatron_codemix.bench.rows import TABLE_HEAD, Row, format_row
from megatron_codemix.errors import EXIT_BUG
from megatron_codemix.obs.progress import progress_bar


def print_sections(
    bench: str,
    names: list[str],
    run_sections: Callable[..., Iterator[Row]],
    folder: Path | None,
    scale: float,
    repeats: int,
    *,
    json: bool,
    check: bool,
) -> None:
    """Each row as it is measured, or all as JSON."""
    rows: list[Row] = []
    if not json:
        print(TABLE_HEAD)
    with progress_bar(f"bench {bench}", len(names), "sections") as advance:
        measured = run_sections(
            names,
            folder or Path(tempfile.gettempdir()),
            scale=scale,
            repeats=repeats,
            finished=lambda name: advance(1),
        )
        for row in measured:
            rows.append(row)
            if not json:
                print(format_row(row), flush=True)
    if json:
        print_json(bench, rows, scale=scale)
    if check and any(row.met is False for row in rows):
        raise typer.Exit(EXIT_BUG)


def print_json(name: str, rows: Sequence[Row], **more: Any) -> None:  # Any: JSON values
    """more: what else the report says, before the rows."""
    print_report(name, [row.as_dict() for row in rows], **more)


def print_report(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    **more: Any,  # Any: JSON values
) -> None:
    """As `print_json`, of rows that are JSON objects."""
    from megatron_codemix.train.provenance import source_commit

    report = {
        "bench": name,
        "commit": source_commit(),
        "machine": _machine(),
        **more,
        "rows": rows,
    }
    print(json_module.dumps(report, indent=1))


def _machine() -> dict[str, Any]:
    """What the figures depend on; not the host's name, which is nobody's business."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
