"""`codemix scaling ladder`: from a target to a study of small runs."""

import json as json_module
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from megatron_codemix.cli.dry_run import print_plan
from megatron_codemix.cli.scaling_input import read_count, read_counts, read_fractions
from megatron_codemix.cli.scaling_options import DryRunOption, JsonOption
from megatron_codemix.cli.unused import refuse_unused
from megatron_codemix.errors import ConfigError
from megatron_codemix.obs.tables import WholeTable

if TYPE_CHECKING:  # help texts do not wait for it
    from megatron_codemix.scaling.ladder import Ladder

_OF_TARGET = (
    *("tokens", "sizes", "multiples", "budgets", "compute", "decay"),
    *("learning_rate", "rate_factor", "gpus", "sequence_length"),
)
"""Options of a ladder that is made for a target."""


def command(
    context: typer.Context,
    model: Annotated[
        Path | None,
        typer.Argument(help="Model file of the target; default: the first paper's 2.8B."),
    ] = None,
    tokens: Annotated[str, typer.Option(help="Tokens that the target is trained on.")] = "400B",
    out: Annotated[Path | None, typer.Option(help="Study file to write.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the study.")] = None,
    shares: Annotated[
        str, typer.Option(help="Parts of code in the mixture, with commas.")
    ] = "0,0.25,0.5",
    sizes: Annotated[int, typer.Option(help="Sizes, each twice the one before.")] = 5,
    multiples: Annotated[
        str, typer.Option(help="Budgets of each size, in multiples of 20 tokens a parameter.")
    ] = "1,2,5,10",
    budgets: Annotated[
        str | None, typer.Option(help="The same budgets for all sizes instead: 5B,10B,20B,40B.")
    ] = None,
    compute: Annotated[
        float, typer.Option(help="What the ladder may cost, as a part of the target's compute.")
    ] = 0.1,
    decay: Annotated[
        str, typer.Option(help="Part of each budget in which the learning rate decays.")
    ] = "0.2",
    learning_rate: Annotated[
        float | None,
        typer.Option(help="One for all sizes (for models with mup); default: by a rule of sizes."),
    ] = None,
    rate_factor: Annotated[
        float, typer.Option(help="Multiplies the rates of the rule of sizes.")
    ] = 1.0,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds, each of which trains it all.")] = 1,
    gpus: Annotated[int, typer.Option(min=1, help="Processes that train one phase.")] = 8,
    sequence_length: Annotated[
        int | None, typer.Option(min=1, help="Default: the model file's, or 2048.")
    ] = None,
    tiny: Annotated[
        bool,
        typer.Option(
            "--tiny", help="A ladder for one machine without a GPU; takes --shares and --seeds."
        ),
    ] = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """From a target to a ladder of small runs, as a study file: sizes, budgets, batches, learning
    rates, by published rules."""
    from megatron_codemix.scaling import tiny_ladder
    from megatron_codemix.scaling.ladder import make_ladder, scarce_tokens
    from megatron_codemix.scaling.ladder_design import Design, Target
    from megatron_codemix.scaling.ladder_study import Machine, study_text
    from megatron_codemix.scaling.model_file import read_model

    refuse_unused(context, _OF_TARGET if tiny else [], "the tiny ladder has its own")
    refuse_unused(context, ["multiples"] if budgets else [], "--budgets says what they say")
    refuse_unused(context, ["rate_factor"] if learning_rate else [], "--learning-rate is the rate")
    refuse_unused(context, [] if out else ["dry_run"], "it goes with --out")
    parts = read_fractions("--shares", shares)
    warnings: list[str] = []
    if tiny:
        if model is not None:
            raise ConfigError([f"{model}: --tiny has a target of its own; give one of the two"])
        made = tiny_ladder.make_tiny_ladder(parts, seeds)
        machine = tiny_ladder.MACHINE
    else:
        target = read_model(model or Path("examples/models/2_8b.yaml"))
        length = sequence_length or target.sequence_length
        design = Design(
            sizes=sizes,
            multiples=read_fractions("--multiples", multiples),
            budgets=None if budgets is None else read_counts("--budgets", budgets),
            decay=read_fractions("--decay", decay)[0],
            learning_rate=learning_rate,
            rate_factor=rate_factor,
            batch_multiple=gpus,
            shares=parts,
            seeds=seeds,
        )
        wanted = Target(
            model=target.model, tokens=read_count("--tokens", tokens), sequence_length=length
        )
        made = make_ladder(wanted, design, compute)
        warnings = scarce_tokens(made)
        machine = Machine(
            world_size=gpus,
            microbatch_sequences=1,
            precision="bf16",
            has_gpus=True,
            validation_bytes=5_000_000,
        )
    study = name or ("tiny-ladder" if tiny else "ladder")
    if out is not None:
        text = study_text(made, machine, study, _ladder_command())
        is_there = _is_there(out, text)
        if not (is_there or dry_run):
            _write_study(out, text)
    if json:
        file = None if out is None else str(out)
        record = {"study": study, "file": file, **made.as_dict(), "warnings": warnings}
        print(json_module.dumps(record, indent=1))
        return
    _print_table(made)
    for warning in warnings:
        print(f"warning: {warning}")
    if out is None:
        print("nothing written; --out FILE makes it a study file")
    elif dry_run:
        print_plan({"study": study, "file": str(out)}, as_json=False)
    else:
        print(f"{out}: a study; 'codemix study plan {out} --data DATA' shows it")


def _is_there(path: Path, text: str) -> bool:
    """Whether the file holds just this. Raises ConfigError where something else is in its place,
    which would be lost."""
    from megatron_codemix.planner.layout_file import require_new_file

    if path.is_file() and path.read_bytes() == text.encode():
        return True
    if path.exists():
        require_new_file(path, "--out")
    return False


def _write_study(path: Path, text: str) -> None:
    """Writes the file; what it says has been checked as 'codemix study check' does."""
    from megatron_codemix.files import atomic_path
    from megatron_codemix.study.loader import load_study
    from megatron_codemix.study.tree import expand

    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        expand(load_study(temporary))


def _ladder_command() -> str:
    """The command line, as it was given."""
    return shlex.join(["codemix", *sys.argv[1:]])


def _print_table(ladder: "Ladder") -> None:
    """A row for each size."""
    share = ladder.flops / ladder.target.flops
    table = WholeTable(
        title=f"{ladder.num_points} losses for {ladder.flops:.3g} FLOPs, {share:.3g} of the "
        f"target's {ladder.target.flops:.3g}"
    )
    columns = ("size", "with tables", "layers x width", "batch", "peak rate", "tokens")
    for name in columns:
        table.add_column(name, justify="left" if name == "tokens" else "right")
    for rung in ladder.rungs:
        table.add_row(
            rung.name,
            short(rung.parameters_total),
            f"{rung.model.num_layers} x {rung.model.hidden_size}",
            f"{rung.batch_sequences} x {rung.sequence_length}",
            f"{rung.learning_rate:g}",
            ", ".join(short(branch.tokens) for branch in rung.branches),
        )
    Console().print(table)


def short(count: float) -> str:
    """`2.82B`."""
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(count) >= size:
            return f"{count / size:.3g}{suffix}"
    return f"{count:.3g}"
