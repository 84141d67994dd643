"""`codemix bench collectives`: whether a cluster's links are what a plan counts on."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from megatron_codemix.backend.environment import (
    DeviceChoice,
    may_import_before_forks,
    prepare_environment,
    require_device,
)
from megatron_codemix.bench.rows import TABLE_HEAD, Row, format_row
from megatron_codemix.cli.bench_report import print_json
from megatron_codemix.cli.plan_options import GpuOption, NetworkOption
from megatron_codemix.errors import EXIT_BUG, EXIT_DONE, ConfigError
from megatron_codemix.launch.crowding import require_room
from megatron_codemix.launch.placement import RankContext, rank_context_from_environment
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.planner.hardware import GPU_OF_DEVICE, Cluster, find_gpu, find_network
from megatron_codemix.units import parse_bytes

if TYPE_CHECKING:
    from megatron_codemix.backend.devices import Backend

NAMES = ("all_reduce", "all_gather", "reduce_scatter", "send_receive")
_SMALLEST = 64 * 1024
_STEP = 16
_LARGEST_ON_CPU, _LARGEST_ON_GPU = 16 * 2**20, 2**30


def collectives(
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where a goal is not met.")
    ] = False,
    nproc: Annotated[
        int, typer.Option(min=1, help="Processes; ignored under torchrun and srun.")
    ] = 2,
    device: Annotated[DeviceChoice, typer.Option(help="As backend.device of a run.")] = "auto",
    largest: Annotated[
        str | None,
        typer.Option(help="Size of the largest tensor; default: 1GiB on GPUs, 16MiB on CPUs."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Only one of {', '.join(NAMES)}. May be repeated.")
    ] = None,
    gpu: GpuOption = None,
    gpus_per_node: Annotated[
        int | None,
        typer.Option(min=1, help="GPUs that NVLink joins; default: as many as a node has ranks."),
    ] = None,
    network: NetworkOption = None,
) -> None:
    """Bandwidth of the collectives that training makes, over all processes, within each node and
    between nodes, beside what `codemix plan` counts on; a node that is slower than the others is
    named, and so are the ranks of one number on each node. Start it as a training, with srun on as
    many nodes. A minute or two."""
    context = rank_context_from_environment()
    names = _names(only)
    top = _parse_size(largest) if largest else None
    world_size = context.world_size if context else nproc
    if world_size < 2:
        raise ConfigError(
            [
                "--nproc: collectives need at least 2 processes, and there is 1; give --nproc 2, "
                "or start it with srun or torchrun"
            ]
        )
    require_device(device)
    if gpu:
        find_gpu(gpu)
    if network:
        find_network(network)
    if context is None:
        require_room(nproc)
    prepare_environment(device)

    def rank_main(rank: RankContext) -> int:
        from megatron_codemix.bench.collectives.expected import cluster_of
        from megatron_codemix.bench.collectives.measure import hosts_of_ranks

        with _joined(rank, device) as backend:
            hosts = hosts_of_ranks()
            known = gpu or GPU_OF_DEVICE.get(backend.device_name)
            cluster = cluster_of(hosts, known, gpus_per_node, network)
            sizes = _sizes(top or _default_largest(backend))
            is_told = rank.rank == 0 and not json
            rows = _measure(backend, hosts, names, sizes, cluster, is_told=is_told)
            if rank.rank == 0 and json:
                print_json("collectives", rows, device=backend.device_name, ranks=rank.world_size)
        return _verdict(rows) if check and rank.rank == 0 else EXIT_DONE

    prepare = _import_engine if may_import_before_forks(device) else None
    code = rank_main(context) if context else run_ranks(rank_main, nproc, prepare=prepare)
    if code != EXIT_DONE:
        raise typer.Exit(code)


def _names(only: list[str] | None) -> list[str]:
    unknown = [name for name in only or [] if name not in NAMES]
    if unknown:
        raise ConfigError([f"--only: no collective {unknown[0]!r}; there are {', '.join(NAMES)}"])
    return list(dict.fromkeys(only or NAMES))


def _parse_size(text: str) -> int:
    try:
        size = parse_bytes(text)
    except ValueError as error:
        raise ConfigError([f"--largest: {error}"]) from error
    if size < _SMALLEST:
        raise ConfigError([f"--largest: at least 64KiB, not {text}"])
    return size


def _import_engine() -> None:
    # For their imports; those of megatron-core are 100 MB of each rank that makes them itself.
    import megatron_codemix.bench.collectives.measure
    import megatron_codemix.mcore.rank  # noqa: F401


@contextlib.contextmanager
def _joined(rank: RankContext, device: DeviceChoice) -> "Iterator[Backend]":
    import torch.distributed

    from megatron_codemix.mcore.rank import start_rank

    with warnings.catch_warnings():
        # torch 2.13 deprecates names that torch 2.9 has alone and megatron-core uses.
        warnings.simplefilter("ignore", FutureWarning)
        yield start_rank(device, rank)
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _default_largest(backend: "Backend") -> int:
    from megatron_codemix.backend.devices import CpuBackend

    return _LARGEST_ON_CPU if isinstance(backend, CpuBackend) else _LARGEST_ON_GPU


def _measure(
    backend: "Backend",
    hosts: list[str],
    names: list[str],
    sizes: list[int],
    cluster: Cluster | None,
    *,
    is_told: bool,
) -> list[Row]:
    """is_told: whether this rank prints each row as it is measured."""
    from megatron_codemix.bench.collectives.expected import row_of
    from megatron_codemix.bench.collectives.measure import groupings, measure
    from megatron_codemix.planner.time.constants import load_constants

    constants = load_constants() if cluster else None
    rows: list[Row] = []
    if is_told:
        print(TABLE_HEAD)
    total = len(groupings(hosts)) * len(names) * len(sizes)
    with progress_bar("bench collectives", total if is_told else 0, "measurements") as advance:
        for figure in measure(backend, hosts, names, sizes):
            rows.append(row_of(figure, cluster, constants))
            if is_told:
                advance(1)
                print(format_row(rows[-1]), flush=True)
    return rows


def _verdict(rows: list[Row]) -> int:
    """Exit code of --check."""
    judged = [row.met for row in rows if row.met is not None]
    if not judged:
        why = (
            "the planner does not know these links; name them by --gpu and --gpus-per-node"
            if rows[0].peer is None
            else "tensors below 64MiB measure latency; take a larger one as --largest"
        )
        print(f"note: --check has compared nothing: {why}", file=sys.stderr)
    return EXIT_BUG if False in judged else EXIT_DONE


def _sizes(largest: int) -> list[int]:
    """From the smallest by factors to the largest, bytes."""
    sizes = [_SMALLEST]
    while sizes[-1] * _STEP < largest:
        sizes.append(sizes[-1] * _STEP)
    return [*sizes, largest] if largest > sizes[-1] else sizes
