"""`codemix bench`: ours beside a peer, measured on this machine."""

import json as json_module
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from megatron_codemix.bench.data.suite import SECTIONS, require_sections, run_sections
from megatron_codemix.bench.rows import TABLE_HEAD, Row, format_row
from megatron_codemix.errors import EXIT_BUG
from megatron_codemix.obs.progress import progress_bar

app = typer.Typer(help="Ours beside a peer, measured on this machine.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `data` a command of its own while it is the only one."""


@app.command()
def data(
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where a goal is not met.")
    ] = False,
    scale: Annotated[
        float,
        typer.Option(min=0.0001, max=1.0, help="Shrinks all sizes; goals are judged only at 1."),
    ] = 1.0,
    repeats: Annotated[
        int, typer.Option(min=1, help="Measurements of which the median is taken.")
    ] = 5,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this section. May be repeated.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to work: up to 10 GB of files, removed at the end."),
    ] = None,
) -> None:
    """The data engine against megatron-core's: start-up, memory, orders, blends, gather,
    preparation. About 15 minutes; 8 GB of memory, most of it the peer's."""
    names = list(only or SECTIONS)
    require_sections(names)
    if check and scale != 1:
        raise typer.BadParameter(f"the goals are for scale 1, not {scale:g}", param_hint="--check")
    rows: list[Row] = []
    if not json:
        print(TABLE_HEAD)
    with progress_bar("bench data", len(names), "sections") as advance:
        place = folder or Path(tempfile.gettempdir())
        measured = run_sections(
            names, place, scale=scale, repeats=repeats, finished=lambda name: advance(1)
        )
        for row in measured:
            rows.append(row)
            if not json:
                print(format_row(row), flush=True)
    if json:
        _print_json("data", scale, rows)
    if check and any(row.met is False for row in rows):
        raise typer.Exit(EXIT_BUG)


def _print_json(name: str, scale: float, rows: list[Row]) -> None:
    from megatron_codemix.train.provenance import source_commit

    report = {
        "bench": name,
        "commit": source_commit(),
        "machine": _machine(),
        "scale": scale,
        "rows": [row.as_dict() for row in rows],
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
