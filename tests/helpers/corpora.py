"""A corpus folder in which held-out text is easy to tell."""

import json
from pathlib import Path

from megatron_codemix.corpus.split import split_of


def write_corpus(folder: Path, *, marker: str = "zyx") -> Path:
    """Two sources of 80 documents; held-out ones are full of `marker`."""
    folder.mkdir(parents=True, exist_ok=True)
    for source, word in (("code", "def value(x): return x\n"), ("text", "some words here\n")):
        lines = []
        for number in range(80):
            origin = f"{source}/{number}"
            held_out = split_of(origin, 0.2) == "validation"
            text = (marker * 50) if held_out else f"{word * (1 + number % 5)} {number}"
            lines.append(json.dumps({"id": origin, "origin": origin, "text": text}))
        (folder / f"{source}.jsonl").write_text("\n".join(lines) + "\n")
    return folder
