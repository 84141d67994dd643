#!/usr/bin/env python
"""Megatron-LM's tools/merge_datasets.py, drop-in: joins the .bin and .idx of a folder into one.

The work is in megatron_codemix/data/shards/merge.py.
"""

import argparse
import sys
from pathlib import Path

from megatron_codemix.cli.ending import run_readably
from megatron_codemix.errors import DataError


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description="Join the shards of a folder, in order of names.")
    parser.add_argument("--input", type=Path, required=True, help="folder of .bin and .idx")
    parser.add_argument("--output-prefix", type=Path, required=True, help="of the joined shard")
    parser.add_argument("--multimodal", action="store_true", help="refused: text only")
    given = parser.parse_args()
    # Here, so that Ctrl-C during the imports, which take a while, ends as it does later.
    from megatron_codemix.data.preparation.megatron_blocks import UNFINISHED
    from megatron_codemix.data.preparation.sorted_shards import require_merged
    from megatron_codemix.data.shards.merge import bytes_to_read, merge_shards
    from megatron_codemix.obs.progress import progress_bar

    if given.multimodal:
        raise DataError("--multimodal: shards here are of text, without modes")
    require_merged(given.input)
    prefixes = pairs_in(given.input, UNFINISHED)
    with progress_bar("merge", bytes_to_read(prefixes), "bytes") as advance:
        merged = merge_shards(
            prefixes, given.output_prefix, source=given.output_prefix.name, advance=advance
        )
    documents, tokens = merged.num_documents, merged.num_tokens
    print(f"{given.output_prefix}: {documents} documents, {tokens} tokens")
    return 0


def pairs_in(folder: Path, unfinished_mark: str) -> list[Path]:
    """Prefixes of the .bin and .idx in a folder, sorted by name. Raises DataError, also where
    something with the mark of unfinished work lies there."""
    names: dict[str, set[str]] = {".bin": set(), ".idx": set()}
    for path in folder.glob("*"):
        if path.suffix in names and not path.name.startswith("."):
            names[path.suffix].add(path.name.removesuffix(path.suffix))
    unfinished = sorted(folder.glob(f".*{unfinished_mark}*"))
    if unfinished:
        raise DataError(
            f"{unfinished[0]}: of a preparation that has not ended, whose documents would be "
            "missing; run it to its end, or remove the folder"
        )
    alone = sorted(names[".bin"] ^ names[".idx"])
    if alone:
        raise DataError(f"{folder / alone[0]}: .bin and .idx are wanted, one is missing")
    if not names[".bin"]:
        raise DataError(f"{folder}: holds no .bin and .idx")
    return [folder / name for name in sorted(names[".bin"])]


if __name__ == "__main__":
    sys.exit(run_readably(main))
