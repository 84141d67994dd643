"""Which machine this is, and what is installed on it."""

import importlib.metadata
import json
import platform
from collections.abc import Iterator

from megatron_codemix.backend.environment import engine_version, may_have_gpus
from megatron_codemix.bench.train.gpu.machine import Machine as Gpu
from megatron_codemix.bench.train.gpu.machine import find_machine, hash_sources
from megatron_codemix.cli.doctor import MISSING
from megatron_codemix.errors import UnavailableError
from tools.gpu_check.commands import ROOT, CommandError
from tools.gpu_check.place import Place
from tools.gpu_check.results import Check, Machine

_LOOK_SECONDS = 90.0
_SOURCES = ("megatron_codemix", "tests", "tools")


def look_for_gpu() -> tuple[Gpu | None, str | None]:
    """This machine's, asked in a process of its own: this one never loads torch. And why there is
    none, where there should be: a driver, or a device of it."""
    if not may_have_gpus():
        return None, None
    try:
        return find_machine(_LOOK_SECONDS), None
    except UnavailableError as error:
        return None, str(error).removeprefix("--gpu: ")


def this_machine(gpu: Gpu | None) -> Machine:
    """What decides whether earlier results count."""
    return Machine(
        host=platform.node(),
        card=gpu.card if gpu else "",
        driver=gpu.driver if gpu else "",
        torch=importlib.metadata.version("torch"),
        engine=engine_version() or "",
        sources=hash_sources(*(ROOT / name for name in _SOURCES)),
    )


def section(place: Place) -> Iterator[Check]:
    """What `codemix doctor` finds. A machine without a GPU has no failure here; one whose GPU
    PyTorch cannot use has."""
    if place.gpu_problem:
        yield Check("GPU", "failed", place.gpu_problem)
    try:
        said = place.codemix("doctor", "--json", log="doctor")
    except CommandError as error:
        yield Check("codemix doctor", "failed", str(error))
        return
    report = json.loads(said)
    for name, version in report["versions"].items():
        yield Check(name, "passed", str(version))
    for found in report["checks"]:
        is_missing = found["detail"].startswith(MISSING)
        status = "skipped" if is_missing else "passed" if found["ok"] else "failed"
        yield Check(found["name"], status, found["detail"])
    if place.has_gpu and report["backend"] == "cpu":
        yield Check("back end", "failed", "there is a GPU, and backend.device=auto takes the CPU")
