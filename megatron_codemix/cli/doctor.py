"""`codemix doctor`: what this machine has, tried rather than asked where that matters."""

import importlib.metadata
import importlib.util
import json as json_module
import re
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from megatron_codemix.backend.environment import (
    engine_version,
    has_nvidia_driver,
    prepare_environment,
)
from megatron_codemix.config.engine_checks import version_lacks
from megatron_codemix.config.precision_checks import ENGINE_EXTRA
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT
from megatron_codemix.launch import allowance
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.train.provenance import source_commit, versions
from megatron_codemix.units import format_bytes

_GIB = 2**30
# The quickstart peaks at a few hundred MiB of disk and stays within 4 GiB of memory.
_WANTED_DISK_BYTES = 1 * _GIB
_WANTED_MEMORY_BYTES = 2 * _GIB
_COLLECTIVES_SECONDS = 60.0
MISSING = "missing: "
_EXTRAS = {
    "eval": "benchmarks: evaluate --tasks",
    "curate": "corpora: filter, dedup, synthesize --translate",
    "laws": "RegMix by boosted trees",
    "trackers": "TensorBoard and W&B",
}
"""Optional dependencies by name, and what needs them."""


@dataclass(frozen=True)
class Check:
    """One line of the screen."""

    name: str
    ok: bool
    """False where something that every run needs is missing; what only some need never fails."""
    detail: str


def command(
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check this machine: versions, extension, collectives, disk, memory, what GPUs would need."""
    prepare_environment("auto")  # the collectives are tried in forks
    backend, backend_check = _backend()
    checks = [
        _extension(),
        backend_check,
        _collectives(),
        _disk(Path.cwd()),
        _memory(),
        Check("cores", True, str(allowance.usable_cores())),
        Check("extras", True, _extras()),
        *_gpu_checks(),
    ]
    report = {
        "ok": all(check.ok for check in checks),
        "backend": backend,
        "versions": {**versions(), "commit": source_commit()},
        "checks": [vars(check) for check in checks],
    }
    if json:
        print(json_module.dumps(report, indent=1))
    else:
        _print_screen(report)
    raise typer.Exit(EXIT_DONE if report["ok"] else EXIT_INPUT)


def _print_screen(report: dict[str, Any]) -> None:  # Any: the JSON form
    versions_line = ", ".join(
        f"{name} {version or 'unknown'}" for name, version in report["versions"].items()
    )
    width = shutil.get_terminal_size((100, 24)).columns
    print(textwrap.fill(versions_line, width, break_on_hyphens=False), end="\n\n")
    for check in report["checks"]:
        is_missing = check["detail"].startswith(MISSING)
        mark = "FAIL" if not check["ok"] else "--" if is_missing else "ok"
        lead = f"{mark:<6}{check['name']:<14}"
        print(textwrap.fill(lead + check["detail"], width, subsequent_indent=" " * len(lead)))
    if report["ok"]:
        print(f"\nready to run on the {report['backend']} back end (--: optional, or for GPUs)")
    else:
        print("\nnot ready: see FAIL above")


def _extension() -> Check:
    try:
        from megatron_codemix import _C
    except ImportError as error:
        return Check("extension", False, f"{error}; in a checkout: make clean, then make test")
    return Check("extension", True, Path(_C.__file__).name)


def _backend() -> tuple[str | None, Check]:
    """Its name, None where torch itself does not load."""
    try:
        from megatron_codemix.backend.devices import select_backend
    except (ImportError, OSError) as error:  # OSError: a shared library of torch is missing
        return None, Check("back end", False, f"torch does not load: {error}")
    name = select_backend("auto").name
    return name, Check("back end", True, f"{name}: chosen by backend.device=auto")


def _collectives() -> Check:
    """On 2 processes over gloo, in a group of their own; a hang ends after a minute."""
    with tempfile.TemporaryDirectory(prefix="codemix-doctor-") as folder:
        done = Path(folder) / "done"

        def target(context: RankContext) -> int:
            return _try_collectives(context, done)

        code = run_ranks(target, 2, grace_seconds=5, timeout_seconds=_COLLECTIVES_SECONDS)
        worked = done.read_text().split() if done.exists() else []
    names = ", ".join(worked) or "none"
    if code == EXIT_DONE:
        return Check("collectives", True, f"{names}: right on 2 processes over gloo")
    return Check("collectives", False, f"worked before the error above: {names}")


def _try_collectives(context: RankContext, done: Path) -> int:
    from megatron_codemix.backend.collectives_trial import try_collectives
    from megatron_codemix.backend.devices import CpuBackend

    def report(name: str) -> None:
        if context.rank == 0:
            with open(done, "a", encoding="utf-8") as handle:
                handle.write(f"{name}\n")

    try_collectives(
        CpuBackend(),
        rank=context.rank,
        world_size=context.world_size,
        init_method=context.init_method,
        report=report,
    )
    return EXIT_DONE


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    detail = f"{format_bytes(free)} free in {folder}"
    if free < _WANTED_DISK_BYTES:
        detail += f"; the quickstart wants {format_bytes(_WANTED_DISK_BYTES)}"
    return Check("disk", free >= _WANTED_DISK_BYTES, detail)


def _memory() -> Check:
    available = allowance.free_bytes()
    detail = f"{format_bytes(available)} of {format_bytes(allowance.total_bytes())} available"
    if available < _WANTED_MEMORY_BYTES:
        detail += f"; the quickstart wants {format_bytes(_WANTED_MEMORY_BYTES)}"
    return Check("memory", available >= _WANTED_MEMORY_BYTES, detail)


def _extras() -> str:
    """Which extras lack packages, as the installed project names them."""
    try:
        requirements = importlib.metadata.requires("megatron_codemix") or []
    except importlib.metadata.PackageNotFoundError:
        return "not known: the project itself is not installed"
    missing = {name: _missing_packages(name, requirements) for name in _EXTRAS}
    lacking = [
        f"{', '.join(packages)} of [{name}] ({_EXTRAS[name]})"
        for name, packages in missing.items()
        if packages
    ]
    if lacking:
        return MISSING + "; ".join(lacking)
    return ", ".join(f"[{name}]" for name in _EXTRAS)


def _missing_packages(extra: str, requirements: Sequence[str]) -> list[str]:
    marker = re.compile(rf"""extra\s*==\s*["']{extra}["']""")
    names = [
        re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in requirements if marker.search(text)
    ]
    return [name for name in names if _installed_version(name) is None]


def _gpu_checks() -> list[Check]:
    """What runs on NVIDIA GPUs use; nothing here is needed on a CPU."""
    return [
        Check(name, True, detail)
        for name, detail in (
            ("gpu: driver", _driver()),
            ("gpu: torch", _torch_cuda()),
            ("gpu: te", _transformer_engine()),
            ("gpu: layers", _layers()),
            ("gpu: apex", _apex()),
            ("gpu: dali", _dali()),
        )
    ]


def _driver() -> str:
    if not has_nvidia_driver():
        return f"{MISSING}no NVIDIA driver (nvidia-smi is not on PATH)"
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{MISSING}nvidia-smi does not answer ({error})"
    if result.returncode != 0:
        return f"{MISSING}nvidia-smi says {result.stdout.strip() or result.stderr.strip()}"
    return "; ".join(result.stdout.strip().splitlines())


def _torch_cuda() -> str:
    if importlib.util.find_spec("torch") is None:
        return f"{MISSING}torch is not installed"
    import torch

    if torch.version.cuda is None:
        return f"{MISSING}torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__}, built with CUDA {torch.version.cuda}"


def _transformer_engine() -> str:
    version = engine_version()
    if version is None:
        return f"{MISSING}Transformer Engine (fused kernels, FP8); {ENGINE_EXTRA}"
    if (reason := version_lacks(version)) is not None:
        return f"{MISSING}{reason}"
    if importlib.util.find_spec("torch") is not None:
        from megatron_codemix.backend.engine import engine_problem

        if (problem := engine_problem()) is not None:
            return f"{MISSING}{version} is installed and does not load ({problem})"
    return f"transformer-engine {version}"


def _layers() -> str:
    """Whose a model would be built of here, where it has no part that is ours on any machine."""
    if importlib.util.find_spec("torch") is None:
        return f"{MISSING}torch is not installed"
    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.backend.engine import engine_lacks_here

    if (reason := engine_lacks_here(select_backend("auto").device)) is not None:
        return f"ours, not Transformer Engine's: {reason}"
    return "Transformer Engine's in bf16 and its FP8, once a run has tried them beside ours"


def _apex() -> str:
    if importlib.util.find_spec("fused_weight_gradient_mlp_cuda") is not None:
        return "there, with fused weight gradients"
    if importlib.util.find_spec("amp_C") is not None:
        return "there, without fused weight gradients (build it with all CUDA extensions)"
    foreign = _installed_version("apex")
    if foreign is not None:
        return f"{MISSING}the installed package 'apex' ({foreign}) is not NVIDIA's; remove it"
    return (
        f"{MISSING}optional fused kernels; build github.com/NVIDIA/apex from source "
        "(PyPI's 'apex' is another package)"
    )


def _dali() -> str:
    names = (name for name in importlib.metadata.packages_distributions().get("nvidia", []))
    found = [name for name in names if name.startswith("nvidia-dali")]
    return ", ".join(found) or f"{MISSING}optional second data loader; extra [dali]"


def _installed_version(distribution: str) -> str | None:
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        return None
