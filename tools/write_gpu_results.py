#!/usr/bin/env python3
"""Puts the results of `tools/gpu_check.sh` into docs/gpu_results.md: a row for each check, with
those that were not made as "not measured".

    .venv/bin/python tools/write_gpu_results.py runs/gpu_check.json
"""

import argparse
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from megatron_codemix.cli.ending import run_readably  # noqa: E402  # of this checkout
from megatron_codemix.errors import RunError  # noqa: E402
from megatron_codemix.files import write_text  # noqa: E402
from tools.gpu_check.page import put_into  # noqa: E402
from tools.gpu_check.results import read_results  # noqa: E402

PAGE = ROOT / "docs" / "gpu_results.md"


def main() -> int:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="what tools/gpu_check.sh has written")
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    return run_readably(partial(_write, asked.results, asked.page))


def _write(results: Path, page: Path) -> int:
    try:
        found = read_results(results)
    except RunError as error:
        raise RunError(f"{error}; give the file that it has written, or run it again") from error
    try:
        text = put_into(page.read_text(encoding="utf-8"), found)
    except (RunError, UnicodeDecodeError) as error:
        raise RunError(f"{page}: {error}; take docs/gpu_results.md as it was committed") from error
    write_text(page, text)
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
