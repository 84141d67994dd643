"""What a command with --dry-run says: one form for all that work on files."""

import json
from collections.abc import Mapping
from typing import Any

from megatron_codemix.units import format_bytes

_LABEL_WIDTH = 16


def print_plan(plan: Mapping[str, Any], *, as_json: bool) -> None:  # Any: JSON values
    """What a dry run says: a line for each entry, for each item where it has several. The key is
    its label; integers of one that ends in `bytes` are sizes."""
    if as_json:
        print(json.dumps(plan, indent=1, ensure_ascii=False))
        return
    width = max(_LABEL_WIDTH, *(len(key) for key in plan))
    for key, value in plan.items():
        items = value if isinstance(value, list) and value else [value]
        if isinstance(value, dict) and value:
            items = [f"{name}: {_shown(key, item)}" for name, item in value.items()]
        for number, item in enumerate(items):
            label = key.replace("_", " ") if number == 0 else ""
            print(f"{label:<{width}s} {_shown(key, item)}")


def _shown(key: str, value: Any) -> str:  # Any: JSON values
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key.endswith("bytes") and isinstance(value, int):
        return format_bytes(value)
    if value is None or value in ([], (), {}):
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(key, item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(key, item)}" for name, item in value.items())
    return str(value)
