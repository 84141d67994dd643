"""`codemix corpus`: raw text before tokens. A module here holds one command.

Each has a typer `app`; its commands become commands of `codemix corpus`, in the order below.
"""

import typer

from megatron_codemix.cli.corpus import (
    decontaminate,
    dedup,
    filters,
    instructions,
    local,
    recipe,
    split,
    stats,
    synthesize,
)

app = typer.Typer(help="Raw text before tokens.", no_args_is_help=True, add_completion=False)
for _group in (
    local,
    recipe,
    filters,
    dedup,
    decontaminate,
    synthesize,
    instructions,
    split,
    stats,
):
    app.add_typer(_group.app)
