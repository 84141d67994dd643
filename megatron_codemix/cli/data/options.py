"""Options that several `codemix data` commands share, and how they print."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

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


def counted(number: int, unit: str) -> str:
    """`1 block`, `2 blocks`."""
    return f"{number} {unit}{'' if number == 1 else 's'}"
