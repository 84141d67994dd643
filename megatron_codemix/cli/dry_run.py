"""What a command with --dry-run says: one form for all that work on files."""

import json
from collections.abc import Mapping
from typing import Any

from megatron_codemix.units import format_bytes


def print_plan(plan: Mapping[str, Any], *, as_json: bool) -> None:  # Any: JSON values
    """What a dry run says: a line for each entry, for each item where it has several."""
    if as_json:
        print(json.dumps(plan, indent=1, ensure_ascii=False))
        return
    for key, value in plan.items():
        items = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            items = [f"{name} {_shown(key, item)}" for name, item in value.items()]
        name = key.removesuffix("_bytes").replace("_", " ")
        for number, item in enumerate(items or ["nothing"]):
            print(f"{name if number == 0 else '':<16s} {_shown(key, item)}")


def _shown(key: str, value: Any) -> str:  # Any: JSON values
    is_size = key.endswith("bytes") and isinstance(value, int)
    return format_bytes(value) if is_size else str(value)
