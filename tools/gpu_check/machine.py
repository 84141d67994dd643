"""Which machine this is, and what is installed on it."""

import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from megatron_codemix.backend.environment import may_have_gpus
from megatron_codemix.train.provenance import source_commit
from tools.gpu_check.place import CommandError, Place
from tools.gpu_check.results import Check, Machine

_LOOK_SECONDS = 60.0
_NAME_THE_CARD = "import torch; print(torch.cuda.get_device_name())"
_PREFIX = "missing: "


def this_machine() -> Machine:
    """Asks the GPU for its name in a process of its own: this one never loads torch."""
    return Machine(
        host=platform.node(),
        card=_card() if may_have_gpus() else "",
        torch=importlib.metadata.version("torch"),
        commit=source_commit() or "not known",
    )


def _card() -> str:
    """Empty where PyTorch does not find one, whatever the driver says."""
    with TemporaryDirectory(prefix="codemix-gpu-check-") as folder:
        place = Place(Path(folder), has_gpu=True, ends_at=monotonic() + _LOOK_SECONDS)
        try:
            return place.run([sys.executable, "-c", _NAME_THE_CARD]).strip()
        except CommandError:
            return ""


def section(place: Place) -> Iterator[Check]:
    """What `codemix doctor` finds. A machine without a GPU has no failure here."""
    try:
        said = place.codemix("doctor", "--json", log="doctor")
    except CommandError as error:
        yield Check("codemix doctor", "failed", str(error))
        return
    report = json.loads(said)
    for name, version in report["versions"].items():
        yield Check(name, "passed", str(version))
    for found in report["checks"]:
        is_missing = found["detail"].startswith(_PREFIX)
        status = "skipped" if is_missing else "passed" if found["ok"] else "failed"
        yield Check(found["name"], status, found["detail"])
    if place.has_gpu and report["backend"] == "cpu":
        yield Check("back end", "failed", "there is a GPU, and backend.device=auto takes the CPU")
