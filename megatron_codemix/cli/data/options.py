"""Options that several `codemix data` commands share, and how they print."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from megatron_codemix.data.shards.manifest import Manifest

Fraction = Annotated[
    float,
    typer.Option("--validation-fraction", help="Share of the origins that is held out."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")]
TextField = Annotated[str, typer.Option(help="Field of the text in the records.")]
OriginField = Annotated[str, typer.Option(help="Field that names a record's origin.")]
TokenizerFile = Annotated[Path, typer.Option("--tokenizer", help="A byte-level tokenizer.json.")]


def print_json(value: Any) -> None:  # Any: JSON values
    print(json.dumps(value, indent=1, ensure_ascii=False))


def shard_counts(entry: Manifest) -> dict[str, Any]:  # Any: JSON values
    """What --json says of a shard; `answers` of conversations alone."""
    found = entry.model_dump(
        mode="json", include={"num_documents", "num_tokens", "num_bytes", "dtype"}
    )
    if entry.answers is not None:
        found["answers"] = entry.answers.model_dump(
            mode="json", include={"template", "template_sha256", "num_learned"}
        )
    return found


def answer_words(entry: Manifest) -> str | None:
    """How a shard's conversations were rendered, and what is learned of them; None of other
    text."""
    if entry.answers is None:
        return None
    number = entry.answers.num_learned
    share = number / max(entry.num_tokens, 1)
    return f"chat template {entry.answers.template}: {number} tokens ({share:.0%}) are answers"


def counted(number: int, unit: str) -> str:
    """`1 block`, `2 blocks`."""
    return f"{number} {unit}{'' if number == 1 else 's'}"
