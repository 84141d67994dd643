"""`codemix data`: tokenizer and token shards. A module here holds one command, or a few of a kind.

Each has a typer `app`; its commands become commands of `codemix data`, in the order below.
"""

import typer

from megatron_codemix.cli.data import (
    importing,
    inspection,
    ledger,
    manifest,
    merge,
    mixture,
    prepare,
    tokenizer,
    trace,
    verify,
)

app = typer.Typer(help="Tokenizer and token shards.", no_args_is_help=True, add_completion=False)
for _group in (
    tokenizer,
    prepare,
    merge,
    manifest,
    importing,
    verify,
    inspection,
    mixture,
    ledger,
    trace,
):
    app.add_typer(_group.app)
