"""What the commands that plan ask alike: which GPUs, behind which network, at what prices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megatron_codemix.errors import ConfigError

if TYPE_CHECKING:  # here alone: `codemix study status` does not wait for the planner
    from megatron_codemix.planner.cost import Site

GPUS_PER_NODE = 8

GpuOption = Annotated[
    str | None,
    typer.Option("--gpu", help="Kind of GPU: h100, h100-pcie, h200, a100, a100-40gb, b200."),
]
GpusPerNodeOption = Annotated[
    int, typer.Option("--gpus-per-node", min=1, help="GPUs that NVLink joins.")
]
NetworkOption = Annotated[
    str | None,
    typer.Option(
        "--network",
        help="What joins the nodes: infiniband-ndr, infiniband-hdr, infiniband-xdr, roce-400, "
        "efa-3200, ethernet-100. Default: that of the maker's own machine.",
    ),
]
PriceOption = Annotated[
    float | None, typer.Option("--price", min=0, help="Of a GPU-hour, in any unit of money.")
]
PowerPriceOption = Annotated[
    float | None, typer.Option("--power-price", min=0, help="Of a kWh, in the same unit.")
]
WattsOption = Annotated[
    float | None,
    typer.Option(
        "--watts",
        min=0,
        help="Power of the site for each GPU; default: the GPU's largest, times 1.1.",
    ),
]
OF_SITE = ("gpus_per_node", "network", "price", "power_price", "watts", "constants")
"""Options beside --gpu, as Python names them."""
ConstantsOption = Annotated[
    Path | None,
    typer.Option(
        "--constants", help="File of `codemix plan --calibrate`, for the planner's own constants."
    ),
]


def read_site(
    *,
    gpu: str,
    world_size: int,
    gpus_per_node: int,
    network: str | None,
    constants: Path | None,
    price: float | None,
    power_price: float | None,
    watts: float | None,
) -> Site:
    """Where the options say that it would run. Raises ConfigError with what is wrong."""
    from megatron_codemix.planner.calibration import load_constants_file
    from megatron_codemix.planner.cost import Prices, Site
    from megatron_codemix.planner.hardware import make_cluster
    from megatron_codemix.planner.time import load_constants

    numbers = {"--price": price, "--power-price": power_price, "--watts": watts}
    problems = [
        f"{name}: expected a finite number, got {value}"
        for name, value in numbers.items()
        if value is not None and not math.isfinite(value)
    ]
    if world_size > gpus_per_node and world_size % gpus_per_node:
        problems.append(
            f"--gpus: {world_size} are not whole nodes of {gpus_per_node}; change it or "
            "--gpus-per-node"
        )
    if problems:
        raise ConfigError(problems)
    return Site(
        cluster=make_cluster(gpu, gpus_per_node, network),
        constants=load_constants() if constants is None else load_constants_file(constants),
        prices=Prices(gpu_hour=price, kwh=power_price, gpu_watts=watts),
    )
