"""What the commands of `codemix bench` print: rows as a table or as JSON, and the machine."""

import json as json_module
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megatron_codemix.bench.rows import Row


def print_json(name: str, rows: Sequence[Row], **more: Any) -> None:  # Any: JSON values
    """more: what else the report says, before the rows."""
    from megatron_codemix.train.provenance import source_commit

    report = {
        "bench": name,
        "commit": source_commit(),
        "machine": _machine(),
        **more,
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
