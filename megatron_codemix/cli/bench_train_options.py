"""Options of `codemix bench train`: those of the processor's benchmark, and those of --gpu."""

from pathlib import Path
from typing import Annotated

import typer

REPEATS = 5
STEPS = 20
RESULTS = Path("runs") / "bench_train_gpu.jsonl"
CARD = "h100"

JsonOption = Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")]
CheckOption = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Exit with 1 where a goal is not met; with --gpu also where one cannot be judged "
        "or a row was lost.",
    ),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(min=0.0001, max=1.0, help="Shrinks the model; goals are judged only at 1."),
]
RepeatsOption = Annotated[
    int | None,
    typer.Option(min=1, help=f"Starts of a job ({REPEATS}); steps are 8 times as many."),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(help="Only step, loop or start; with --gpu step or loop. May be repeated."),
]
FolderOption = Annotated[
    Path | None, typer.Option(help="Where to work: up to 1 GB of files, removed at the end.")
]
GpuOption = Annotated[
    bool, typer.Option("--gpu", help="On this machine's GPU, from 160M to 2.8B parameters.")
]
ModelsOption = Annotated[
    str | None, typer.Option(help="With --gpu: 160m,470m,1b,2.8b,470m-256k or some of them.")
]
SequencesOption = Annotated[
    str | None, typer.Option(help="With --gpu: 2048,4096,8192 or some of them.")
]
PrecisionsOption = Annotated[
    str | None,
    typer.Option(
        help="With --gpu: bf16,torch_scaled_mm,torch_scaled_mm-delayed,tensorwise,blockwise,"
        "delayed,mxfp8 or some of them."
    ),
]
VariantsOption = Annotated[
    str | None,
    typer.Option(
        help="With --gpu: how steps are computed: default,graphs (CUDA graphs) or some of them; "
        "only the default where nothing is said."
    ),
]
StepsOption = Annotated[
    int | None,
    typer.Option(min=1, help=f"With --gpu: steps that the median is taken of ({STEPS})."),
]
WarmUpOption = Annotated[
    float | None,
    typer.Option(
        min=0, help="With --gpu: seconds of steps at least that are not counted, a side (10)."
    ),
]
NoPeerOption = Annotated[
    bool,
    typer.Option("--no-peer", help="With --gpu: without plain PyTorch, which is compiled first."),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option(
        help=f"With --gpu: file in which finished rows are kept ({RESULTS}); the same command "
        "makes those that are missing."
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="With --gpu: only the rows, and the planner's memory.")
]
CardOption = Annotated[
    str | None,
    typer.Option(help=f"With --dry-run: the GPU, as `codemix plan` names it ({CARD})."),
]
