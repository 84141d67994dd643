"""`codemix evaluate`: scores a finished run where it lies."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.backend.environment import prepare_environment
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.errors import EXIT_DONE, RunError
from megatron_codemix.files import read_json
from megatron_codemix.launch.placement import RankContext, rank_context_from_environment
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.runs import RunDirectory, final_checkpoint
from megatron_codemix.units import parse_bytes

DEFAULT_MAX_BYTES = "1MB"


def command(
    run: Annotated[Path, typer.Argument(help="Run directory of a finished run.")],
    nproc: Annotated[
        int, typer.Option(min=1, help="Data-parallel ranks; ignored under torchrun and srun.")
    ] = 1,
    max_bytes_per_source: Annotated[
        str, typer.Option(help="Held-out text that is scored of each source.")
    ] = DEFAULT_MAX_BYTES,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Bits per byte on the held-out documents of each source of the run's configuration."""
    directory = RunDirectory(run)
    if not directory.config.exists():
        raise RunError(f"{run}: no run here (config.yaml is missing); give a run directory")
    final_checkpoint(directory)
    try:
        max_bytes = parse_bytes(max_bytes_per_source)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-bytes-per-source") from error

    if max_bytes < 1:
        raise typer.BadParameter("expected a size above 0", param_hint="--max-bytes-per-source")

    def rank_main(rank: RankContext) -> int:
        from megatron_codemix.evaluation.heldout import evaluate_rank

        evaluate_rank(directory, max_bytes, rank)
        return EXIT_DONE

    prepare_environment(load_run_config(directory.config).backend.device)
    context = rank_context_from_environment()
    if context is not None:
        rank_main(context)
    else:
        code = run_ranks(rank_main, nproc, prepare=_import_engine, log_folder=directory.evaluation)
        if code != EXIT_DONE:
            raise typer.Exit(code)
    if context is None or context.rank == 0:
        _print_summary(directory, as_json=json)


def _import_engine() -> None:
    import megatron_codemix.evaluation.heldout  # noqa: F401  # for its imports


def _print_summary(directory: RunDirectory, *, as_json: bool) -> None:
    summary = read_json(directory.evaluation / "heldout.summary.json")
    if as_json:
        print(json_module.dumps(summary, indent=1))
        return
    for name, values in summary["sources"].items():
        print(
            f"{name:12s} {values['bits_per_byte']:.4f} bits per byte over "
            f"{values['documents']} documents, {values['bytes']} bytes"
        )
