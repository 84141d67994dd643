"""`codemix bench train`: on this machine's processor, or on its GPU in every precision."""

from pathlib import Path
from typing import Any

import typer

from megatron_codemix.cli.bench_report import print_sections
from megatron_codemix.cli.bench_train_options import (
    CARD,
    REPEATS,
    RESULTS,
    STEPS,
    CardOption,
    CheckOption,
    DryRunOption,
    FolderOption,
    GpuOption,
    JsonOption,
    ModelsOption,
    NoPeerOption,
    OnlyOption,
    PrecisionsOption,
    RepeatsOption,
    ResultsOption,
    ScaleOption,
    SequencesOption,
    StepsOption,
    VariantsOption,
    WarmUpOption,
)
from megatron_codemix.errors import ConfigError


def train(
    json: JsonOption = False,
    check: CheckOption = False,
    scale: ScaleOption = None,
    repeats: RepeatsOption = None,
    only: OnlyOption = None,
    folder: FolderOption = None,
    gpu: GpuOption = False,
    models: ModelsOption = None,
    sequences: SequencesOption = None,
    precisions: PrecisionsOption = None,
    variants: VariantsOption = None,
    no_peer: NoPeerOption = False,
    steps: StepsOption = None,
    warm_up: WarmUpOption = None,
    results: ResultsOption = None,
    dry_run: DryRunOption = False,
    card: CardOption = None,
) -> None:
    """A training step beside plain PyTorch's, the trainer's loop beside bare steps, the start of a
    job of four processes. About 4 minutes; with --gpu a few minutes a row."""
    of_rows = {
        "--models": models,
        "--sequences": sequences,
        "--precisions": precisions,
        "--variants": variants,
    }
    of_measurement = {
        "--no-peer": no_peer or None,
        "--steps": steps,
        "--warm-up": warm_up,
        "--results": results,
    }
    if not gpu:
        of_gpu = {**of_rows, **of_measurement, "--dry-run": dry_run or None, "--card": card}
        _refuse(of_gpu, "means something only with --gpu; give that too, or leave it out")
        _train_here(json, check, scale or 1.0, repeats or REPEATS, only, folder)
        return
    _refuse(
        {"--scale": scale, "--repeats": repeats},
        "means nothing with --gpu; choose by --models, --sequences, --precisions and --steps",
    )
    # Here: the other benchmarks do not wait for what this one imports.
    from megatron_codemix.bench.train.gpu.cases import select_cases
    from megatron_codemix.cli.bench_train_gpu import measure, plan

    cases = select_cases(models, sequences, precisions, only, variants)
    if dry_run:
        not_now = {"--check": check or None, **of_measurement}
        _refuse(not_now, "means nothing with --dry-run, which measures nothing; leave it out")
        plan(cases, card or CARD, json=json)
        return
    _refuse({"--card": card}, "is for --dry-run; a measurement takes the GPU that is there")
    measure(
        cases,
        steps=steps or STEPS,
        has_peer=not no_peer,
        warm_up_seconds=warm_up,
        path=results or RESULTS,
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
