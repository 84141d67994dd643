"""What the rows are measured with, asked of a process that ends, so that this one takes nothing of
the GPU's memory; and which rows cannot run with it."""

import hashlib
import importlib
import importlib.metadata
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megatron_codemix.backend.environment import engine_version, may_have_gpus
from megatron_codemix.bench.train.gpu.cases import Case
from megatron_codemix.config.precision_checks import check_cuda, check_machine
from megatron_codemix.config.schema import Fp8Config
from megatron_codemix.errors import CodemixError, UnavailableError
from megatron_codemix.planner.hardware import GPU_OF_DEVICE, Gpu, find_gpu
from megatron_codemix.train.provenance import source_commit

_LIMIT_SECONDS = 300.0
_PACKAGE = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A GPU and what is installed beside it."""

    card: str
    """As the driver calls it."""
    driver: str
    capability: tuple[int, int]
    memory_bytes: int
    torch: str
    built_with: str | None
    """CUDA of that PyTorch."""
    megatron_core: str
    engine: str | None
    """Version of Transformer Engine; None: it is not installed."""
    engine_problem: str | None
    """Why it does not load, where it is installed and does not."""
    commit: str | None
    """Of this project's checkout; None without one."""
    """For information; `sources` decides."""
    sources: str
    """Hash of this project's files: a checkout with changes has no commit that tells them."""

    @property
    def gpu(self) -> Gpu | None:
        """The data sheet's; None of a card that is not in the planner's table."""
        name = GPU_OF_DEVICE.get(self.card)
        return None if name is None else find_gpu(name)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {**asdict(self), "capability": list(self.capability)}


def find_machine(limit_seconds: float = _LIMIT_SECONDS) -> Machine:
    """Raises UnavailableError where there is no GPU that PyTorch can use, or it does not answer."""
    if not may_have_gpus():
        raise UnavailableError(
            "--gpu: this machine has no NVIDIA driver (nvidia-smi is not on PATH, and there is no "
            "/dev/nvidia0); run it on a GPU node, or see the rows with --dry-run"
        )
    command = [sys.executable, "-m", __name__]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            f"--gpu: PyTorch has not found this machine's GPU in {limit_seconds:g} s; see whether "
            "nvidia-smi answers, or whether PyTorch lies on a slow disk"
        ) from None
    if asked.returncode != 0:
        said = asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"]
        raise UnavailableError(f"--gpu: PyTorch cannot use this machine's GPU: {said[-1]}")
    found = json.loads(asked.stdout.splitlines()[-1])
    return Machine(
        **{**found, "capability": tuple(found["capability"])},
        commit=source_commit(),
        sources=hash_sources(),
    )


def why_not(case: Case, machine: Machine) -> str | None:
    """What keeps this machine from the row, memory apart; None where nothing does."""
    precision = case.number_formats
    if not isinstance(precision, Fp8Config):
        return None
    if precision.scaling == "delayed" and case.is_recorded:
        return "CUDA graphs do not go with delayed scaling"
    problems = check_machine(precision, machine.capability, machine.engine)
    if not problems:
        problems = check_cuda(precision, machine.built_with)
    if not problems and precision.is_engines and machine.engine_problem:
        why = machine.engine_problem
        problems = [f"Transformer Engine {machine.engine} is installed and does not load: {why}"]
    if not problems and precision.is_engines and case.shape.block == "parallel":
        problems = ["Transformer Engine's layers do not go with the parallel block"]
    return "; ".join(problems) or None


def hash_sources(*folders: Path) -> str:
    """Of the Python files and tables in them, of this package where none is given: sha256, its
    first 12 digits."""
    found = hashlib.sha256()
    for folder in folders or (_PACKAGE,):
        for path in sorted(each for kind in ("*.py", "*.yaml") for each in folder.rglob(kind)):
            found.update(f"{path.relative_to(folder)}\n".encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


def ask_here() -> dict[str, Any]:  # Any: JSON values
    """What only a process with PyTorch knows. Raises UnavailableError without a GPU."""
    from megatron_codemix.backend.engine import engine_problem
    from megatron_codemix.backend.measuring import find_card

    card = find_card()
    return {
        "card": card.name,
        "driver": card.driver,
        "capability": list(card.capability),
        "memory_bytes": card.memory_bytes,
        "torch": card.torch,
        "built_with": card.built_with,
        "megatron_core": importlib.metadata.version("megatron-core"),
        "engine": engine_version(),
        "engine_problem": engine_problem(),
    }


def _main() -> int:
    try:
        sys.stdout.write(json.dumps(ask_here()) + "\n")
    except CodemixError as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())
