"""`codemix bench chaos`: a training, or a whole study, that is killed again and again."""

import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from megatron_codemix.bench.chaos.study.plan import KINDS
from megatron_codemix.bench.rows import TABLE_HEAD, format_row
from megatron_codemix.cli.bench_report import print_json
from megatron_codemix.cli.unused import refuse_unused
from megatron_codemix.errors import EXIT_BUG
from megatron_codemix.obs.progress import progress_bar

if TYPE_CHECKING:
    from megatron_codemix.bench.chaos.study.suite import StudyChaosResult
    from megatron_codemix.bench.chaos.suite import Chaos, ChaosResult

STEPS = 200
_OF_ONE_TRAINING = ("kills", "nproc", "rounds", "moves", "check")
_OF_A_STUDY = ("faults", "only")


def chaos(
    context: typer.Context,
    study: Annotated[
        bool,
        typer.Option(
            "--study",
            help="A study of six phases instead of one training; exits with 1 unless it ended as "
            "the undisturbed one, after all its faults.",
        ),
    ] = False,
    faults: Annotated[
        int, typer.Option(min=1, help="--study: faults, of all kinds by turns.")
    ] = 56,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT",
            help=f"--study: only this fault, one of: {'; '.join(KINDS)}. May be repeated.",
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="--study: folder to work in, where the same command goes on after Ctrl-C or a "
            "kill; removed at the end. Default: runs/chaos-study. Without --study: --folder."
        ),
    ] = None,
    kills: Annotated[
        int, typer.Option(min=1, help="Faults of a run: kills and signals, by turns.")
    ] = 20,
    steps: Annotated[
        int | None,
        typer.Option(
            min=20,
            help=f"Steps of the run, {STEPS} by default; with --study of each of its phases, 8 for "
            "each fault by default.",
        ),
    ] = None,
    nproc: Annotated[int, typer.Option(min=1, help="Ranks.")] = 2,
    rounds: Annotated[
        int, typer.Option(min=0, help="Runs that are struck so, each in other places.")
    ] = 2,
    moves: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stops of one more run, which goes on in another layout after each; its losses "
            "must be within 1e-5 (fp32).",
        ),
    ] = 4,
    seed: Annotated[int, typer.Option(help="Decides where the faults strike.")] = 1,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the run: section.key=value ...")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 unless all runs ended alike.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder to work in; removed at the end. With --study: --work."),
    ] = None,
) -> None:
    """Small runs that are killed again and again, beside one that is left alone: weights,
    optimizer, ledger and metrics must be equal bit for bit. About 10 s a kill. With --study a whole
    study, its report included."""
    if study:
        refuse_unused(context, ["folder"], "with --study the folder to work in is --work")
        refuse_unused(context, _OF_ONE_TRAINING, "it goes without --study")
        if overrides:
            raise typer.BadParameter("no effect: changes to a run go without --study")
        _study(work or Path("runs/chaos-study"), faults, seed, only or [], steps, json=json)
        return
    refuse_unused(context, ["work"], "without --study the folder to work in is --folder")
    refuse_unused(context, _OF_A_STUDY, "it goes with --study")
    from megatron_codemix.bench.chaos.suite import Chaos

    _training(
        folder or Path(tempfile.gettempdir()),
        Chaos(
            num_faults=kills,
            num_steps=steps or STEPS,
            num_ranks=nproc,
            seed=seed,
            rounds=rounds,
            num_moves=moves,
            overrides=overrides or [],
        ),
        json=json,
        check=check,
    )


def _training(folder: Path, asked: "Chaos", *, json: bool, check: bool) -> None:
    from megatron_codemix.bench.chaos.suite import run_chaos

    with progress_bar("bench chaos", asked.num_starts, "runs") as advance:
        result = run_chaos(folder, asked, finished=lambda what: advance(1))
    if json:
        print_json(
            "chaos",
            result.rows,
            identical=result.identical,
            faults=[fault.as_dict() for fault in result.faults],
            differences=result.differences,
        )
    else:
        _print_training(result)
    if check and not result.identical:
        raise typer.Exit(EXIT_BUG)


def _print_training(result: "ChaosResult") -> None:
    for fault in result.faults:
        print(f"{fault.run}  step {fault.step:4d}  {fault.kind:21s} exit code {fault.exit_code}")
    print("\n".join(result.differences) or "identical: weights, optimizer, ledger, metrics")
    print("\n".join([TABLE_HEAD, *map(format_row, result.rows)]))


def _study(
    work: Path, faults: int, seed: int, only: list[str], steps: int | None, *, json: bool
) -> None:
    from megatron_codemix.bench.chaos.study.asked import StudyChaos, kinds_named
    from megatron_codemix.bench.chaos.study.suite import result_record, run_study_chaos

    def tell(line: str) -> None:
        print(f"bench chaos: {line}", file=sys.stderr, flush=True)

    asked = StudyChaos(num_faults=faults, seed=seed, kinds=kinds_named(only), num_steps=steps)
    with _ended_in_order():
        result = run_study_chaos(work, asked, tell)
    if json:
        print_json("chaos", result.rows, **result_record(result))
    else:
        _print_study(result)
    if not (result.identical and result.is_complete):
        raise typer.Exit(EXIT_BUG)


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """During the block SIGTERM ends the command as Ctrl-C does: the study is ended, and what stays
    is told."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once
        raise SystemExit(128 + number)  # as shells have it

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_study(result: "StudyChaosResult") -> None:
    for kind, count in result.counts.items():
        print(f"{count:3d}  {kind}")
    print(f"{len(result.faults):3d}  of {result.asked.num_faults} faults have struck")
    found = result.comparison
    print(f"samples: {found.lost_samples} lost, {found.repeated_samples} repeated")
    print(
        "\n".join(result.differences)
        or f"identical: {found.num_tensors} tensors and {found.num_files} files, the report's "
        "among them"
    )
    print("\n".join([TABLE_HEAD, *map(format_row, result.rows)]))
