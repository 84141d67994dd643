#!/usr/bin/env python3
"""Puts the results of `tools/gpu_check.sh` into docs/gpu_results.md: a row for each check, with
those that were not made as "not measured".

    .venv/bin/python tools/write_gpu_results.py gpu_check.json
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from megatron_codemix.files import read_json_object, write_text  # noqa: E402  # of this checkout
from tools.gpu_check.page import put_into  # noqa: E402

PAGE = ROOT / "docs" / "gpu_results.md"


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="what tools/gpu_check.sh has written")
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    page = put_into(asked.page.read_text(encoding="utf-8"), read_json_object(asked.results))
    write_text(asked.page, page)
    print(asked.page)


if __name__ == "__main__":
    main()
