"""`codemix checkpoint`: what a run has saved, whether it is whole, means of several, and Hugging
Face's format."""

import json as json_module
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from megatron_codemix.checkpoints import (
    CheckpointInfo,
    changed_files,
    damage_advice,
    files_of,
    list_checkpoints,
    read_marker,
    total_bytes,
)
from megatron_codemix.config.plan import layout_text
from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, RunError
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.run_checkpoints import final_checkpoint
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory
from megatron_codemix.units import format_bytes, format_count, parse_bytes

app = typer.Typer(
    help="List, verify, average and convert checkpoints.",
    no_args_is_help=True,
    add_completion=False,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command("list")
def list_command(
    run: Annotated[Path, typer.Argument(help="Run directory.")], json: JsonOption = False
) -> None:
    """Steps, tokens, sizes and layouts of a run's checkpoints; sizes of files are checked."""
    found = list_checkpoints(RunDirectory(run))
    if json:
        _print_json([asdict(info) for info in found])
        return
    print(f"{'step':>10s} {'tokens':>16s} {'size':>10s}  {'layout':<24s} state")
    for info in found:
        tokens = "" if info.tokens is None else f"{info.tokens:,}"
        size = "" if info.bytes is None else format_bytes(info.bytes)
        print(f"{info.step:>10,} {tokens:>16s} {size:>10s}  {_layout(info):<24s} {_state(info)}")


@app.command()
def verify(
    places: Annotated[
        list[Path], typer.Argument(help="Run directories, or folders of checkpoints.")
    ],
    json: JsonOption = False,
) -> None:
    """Read every byte of complete checkpoints and compare with their hashes; exit code 2, with the
    files named, where something is damaged."""
    folders = [folder for place in places for folder in _complete(place)]
    problems: dict[Path, list[str]] = {}
    markers = {}
    for folder in folders:
        try:
            markers[folder] = read_marker(folder)
        except RunError as error:
            problems[folder] = str(error).splitlines()
    total = sum(map(total_bytes, markers.values()))
    with progress_bar("verify", total, "bytes") as advance:
        for folder, marker in markers.items():
            problems[folder] = changed_files(folder, files_of(marker), advance=advance)
    is_ok = not any(problems.values())
    if json:
        listed = [{"path": str(folder), "problems": problems[folder]} for folder in folders]
        _print_json({"ok": is_ok, "bytes": total, "checkpoints": listed})
        if not is_ok:
            raise typer.Exit(EXIT_INPUT)
        return
    if not is_ok:
        damaged = [folder for folder in folders if problems[folder]]
        raise RunError(*(x for one in damaged for x in (*problems[one], damage_advice(one))))
    for folder, marker in markers.items():
        print(f"{folder}: {format_bytes(total_bytes(marker))}, as written")


@app.command()
def average(
    places: Annotated[
        list[Path],
        typer.Argument(help="Checkpoints, or run directories, which stand for their last."),
    ],
    out: Annotated[Path, typer.Option(help="Run directory to write; it must be new.")],
    weight: Annotated[
        list[float] | None,
        typer.Option(
            help="One for each checkpoint, 0 or more, in the same order; absent: all alike."
        ),
    ] = None,
) -> None:
    """Write a run whose weights are the weighted mean of several checkpoints'.

    Configuration, ledger and place on the way are those of the last one named. `codemix evaluate`
    and `init_from` with `load: weights` take it like any other run.
    """
    folders = [_checkpoint(place) for place in places]
    weights = weight or [1.0] * len(folders)
    if len(folders) < 2:
        raise typer.BadParameter("name at least two checkpoints", param_hint="PLACES")
    if len(weights) != len(folders):
        raise typer.BadParameter(
            f"{len(weights)} weights for {len(folders)} checkpoints; give one for each",
            param_hint="--weight",
        )
    if not all(0 <= value < math.inf for value in weights) or not 0 < sum(weights) < math.inf:
        raise typer.BadParameter(
            f"{', '.join(f'{value:g}' for value in weights)}: a mean needs finite numbers that are "
            "not negative, one of them above 0",
            param_hint="--weight",
        )

    def rank_main(rank: RankContext) -> int:
        from megatron_codemix.train.averaging import Term, average_into

        terms = [Term(folder, value) for folder, value in zip(folders, weights, strict=True)]
        with progress_bar("average", len(terms), "checkpoints") as advance:
            average_into(RunDirectory(out), terms, rank, advance)
        return EXIT_DONE

    code = run_ranks(rank_main, 1)
    if code != EXIT_DONE:
        raise typer.Exit(code)
    print(f"{out}: the mean of {len(folders)} checkpoints")


@app.command("export")
def export_command(
    place: Annotated[
        Path, typer.Argument(help="A checkpoint, or a run directory, which stands for its last.")
    ],
    out: Annotated[Path, typer.Option(help="Directory to write.")],
    to: Annotated[
        Literal["hf"], typer.Option(help="hf: what transformers' from_pretrained reads.")
    ] = "hf",
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(
            help="Number format of the weights; absent: the most exact one that is saved (fp32 "
            "master weights also of a bf16 run)."
        ),
    ] = None,
    max_shard_bytes: Annotated[
        str, typer.Option(help="Weights in one file; a larger tensor has one of its own.")
    ] = "5GB",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export at this place.")
    ] = False,
) -> None:
    """Write a checkpoint, from any layout, as a model that transformers loads by itself: as Llama,
    Qwen3 (`qk_norm`) or Cohere (`block: parallel`).

    One tensor at a time is in memory. What none of these computes is refused by name.
    """
    try:
        shard_bytes = parse_bytes(max_shard_bytes)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-shard-bytes") from error
    from megatron_codemix.hugging_face.export import export

    assert to == "hf", to
    folder = _checkpoint(place)
    with progress_bar("verify and export", total_bytes(read_marker(folder)), "bytes") as advance:
        done = export(
            folder,
            out,
            dtype=dtype,
            max_shard_bytes=shard_bytes,
            overwrite=overwrite,
            advance=advance,
        )
    print(
        f"{out}: {done.architecture}, {format_count(done.num_parameters)} parameters in "
        f"{done.dtype} ({done.taken_from}), {len(done.files)} files of weights"
    )


@app.command("import")
def import_command(
    folder: Annotated[Path, typer.Argument(help="What transformers' save_pretrained wrote.")],
    config: Annotated[
        Path,
        typer.Option(
            help="Configuration of the run (YAML); `model` and `tokenizer` may be left out."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Run directory to write; it must be new.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to it: section.key=value ...")
    ] = None,
) -> None:
    """Write a run from a model in Hugging Face's format: Llama, Mistral, Qwen3 or Cohere.

    `codemix evaluate` and `init_from` with `load: weights` take it like any other run. Its shape
    and tokenizer are the folder's, its data, precision and all else the configuration's.
    """
    from megatron_codemix.hugging_face.source import prepare_import

    source = prepare_import(folder, config, overrides or [], RunDirectory(out))

    def rank_main(rank: RankContext) -> int:
        from megatron_codemix.hugging_face.importing import import_rank

        import_rank(source, RunDirectory(out), rank)
        return EXIT_DONE

    code = run_ranks(rank_main, 1)
    if code != EXIT_DONE:
        raise typer.Exit(code)
    print(f"{out}: the run of {folder}; its model and tokenizer are in {out / 'config.yaml'}")


def _complete(place: Path) -> list[Path]:
    """Folders of checkpoints that count as complete: the place itself, or those of the run."""
    if (place / COMPLETE_MARKER).exists():
        return [place]
    run = RunDirectory(place)
    steps = run.complete_steps()
    if not steps:
        raise RunError(f"{place}: no complete checkpoint here; give a run directory or one of them")
    return [run.checkpoint(step) for step in steps]


def _checkpoint(place: Path) -> Path:
    """The place itself, complete or not, or the last checkpoint of the run that it is."""
    if (place / COMPLETE_MARKER).exists() or place.name.startswith("iter_"):
        return place
    return final_checkpoint(RunDirectory(place))


def _layout(info: CheckpointInfo) -> str:
    if info.layout is None or info.world_size is None:
        return ""
    layout = LayoutConfig.model_validate(info.layout)
    return layout_text(layout, info.world_size // layout.model_parallel)


def _state(info: CheckpointInfo) -> str:
    if info.problem is not None:
        return ("damaged: " if info.complete else "incomplete: ") + info.problem
    return "complete, kept for good" if info.kept else "complete"


def _print_json(value: Any) -> None:  # Any: JSON values
    print(json_module.dumps(value, indent=1))
