"""`codemix corpus`: raw text before tokens. A module here holds one command.

Each has a typer `app`; its command becomes one of `codemix corpus`, in the order below.
"""

import typer

from megatron_codemix.cli.corpus import filters, local, recipe, split

app = typer.Typer(help="Raw text before tokens.", no_args_is_help=True, add_completion=False)
for _command in (local, recipe, filters, split):
    app.add_typer(_command.app)
