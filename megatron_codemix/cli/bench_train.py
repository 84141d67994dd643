"""`codemix bench train`: on this machine's processor, or on its GPU in every precision."""

from pathlib import Path
from typing import Annotated, Any

import typer

from megatron_codemix.cli.bench_report import print_sections
from megatron_codemix.errors import ConfigError

_REPEATS = 5
_STEPS = 20
_RESULTS = Path("runs") / "bench_train_gpu.jsonl"
_CARD = "h100"


def train(
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Exit with 1 where a goal is not met; with --gpu also where one cannot be judged "
            "or a row was lost.",
        ),
    ] = False,
    scale: Annotated[
        float | None,
        typer.Option(min=0.0001, max=1.0, help="Shrinks the model; goals are judged only at 1."),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(min=1, help=f"Starts of a job ({_REPEATS}); steps are 8 times as many."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only step, loop or start; with --gpu step or loop. May be repeated."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where to work: up to 1 GB of files, removed at the end.")
    ] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="On this machine's GPU, from 160M to 2.8B parameters.")
    ] = False,
    models: Annotated[
        str | None, typer.Option(help="With --gpu: 160m,470m,1b,2.8b,470m-256k or some of them.")
    ] = None,
    sequences: Annotated[
        str | None, typer.Option(help="With --gpu: 2048,4096,8192 or some of them.")
    ] = None,
    precisions: Annotated[
        str | None,
        typer.Option(
            help="With --gpu: bf16,torch_scaled_mm,torch_scaled_mm-delayed,tensorwise,blockwise,"
            "delayed,mxfp8 or some of them."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help=f"With --gpu: steps that the median is taken of ({_STEPS})."),
    ] = None,
    warm_up: Annotated[
        float | None,
        typer.Option(
            min=0, help="With --gpu: seconds of steps at least that are not counted, a side (10)."
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help=f"With --gpu: file in which finished rows are kept ({_RESULTS}); the same command "
            "makes those that are missing."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --gpu: only the rows, and the planner's memory."),
    ] = False,
    card: Annotated[
        str | None,
        typer.Option(help=f"With --dry-run: the GPU, as `codemix plan` names it ({_CARD})."),
    ] = None,
) -> None:
    """A training step beside plain PyTorch's, the trainer's loop beside bare steps, the start of a
    job of four processes. About 4 minutes; with --gpu a few minutes a row."""
    if not gpu:
        of_gpu = {
            "--models": models,
            "--sequences": sequences,
            "--precisions": precisions,
            "--steps": steps,
            "--warm-up": warm_up,
            "--results": results,
            "--dry-run": dry_run or None,
            "--card": card,
        }
        _refuse(of_gpu, "means something only with --gpu; give that too, or leave it out")
        _train_here(json, check, scale or 1.0, repeats or _REPEATS, only, folder)
        return
    _refuse(
        {"--scale": scale, "--repeats": repeats},
        "means nothing with --gpu; choose by --models, --sequences, --precisions and --steps",
    )
    # Here: the other benchmarks do not wait for what this one imports.
    from megatron_codemix.bench.train.gpu.cases import select_cases
    from megatron_codemix.cli.bench_train_gpu import measure, plan

    cases = select_cases(models, sequences, precisions, only)
    if dry_run:
        not_now = {
            "--check": check or None,
            "--steps": steps,
            "--warm-up": warm_up,
            "--results": results,
        }
        _refuse(not_now, "means nothing with --dry-run, which measures nothing; leave it out")
        plan(cases, card or _CARD, json=json)
        return
    _refuse({"--card": card}, "is for --dry-run; a measurement takes the GPU that is there")
    measure(
        cases,
        steps=steps or _STEPS,
        warm_up_seconds=warm_up,
        path=results or _RESULTS,
        folder=folder,
        json=json,
        check=check,
    )


def _train_here(
    json: bool,
    check: bool,
    scale: float,
    repeats: int,
    only: list[str] | None,
    folder: Path | None,
) -> None:
    from megatron_codemix.bench.train.suite import SECTIONS, require_sections, run_sections

    names = list(only or SECTIONS)
    require_sections(names)
    if check and scale != 1:
        raise typer.BadParameter(f"the goals are for scale 1, not {scale:g}", param_hint="--check")
    print_sections("train", names, run_sections, folder, scale, repeats, json=json, check=check)


def _refuse(given: dict[str, Any], why: str) -> None:  # Any: an option's value
    """Raises ConfigError with those that are not None."""
    problems = [f"{name}: {why}" for name, value in given.items() if value is not None]
    if problems:
        raise ConfigError(problems)
