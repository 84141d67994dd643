"""Whole runs give the losses that were recorded: what all other tests would let pass, shows here.

`tests/golden/*.json` has, for each run, the changes to the configuration of `tests/helpers/tiny.py`
(whose data are made from seeds), the ranks, the curves, and under `origin` where they come from.
After a change that is meant to move numbers they are recorded anew, and the commit says why:

    pytest tests/distributed/test_golden.py --record-golden

A new case is a file with `ranks` and `overrides`.
"""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.files import read_json, read_jsonl, write_json
from megatron_codemix.runs import RunDirectory
from megatron_codemix.train.provenance import versions
from tests.helpers.ranks import run_distributed
from tests.helpers.tiny import write_run
from tests.helpers.training import train_run

NAMES = ("tokens", "optimizer/lr", "loss/train_nats")
FILES = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))
LOSS_TOLERANCE = 1e-6
"""Nats. Other processors, libraries and numbers of threads add in another order. Measured on the
recording machine, over all three runs: ATEN_CPU_CAPABILITY default and avx2, MKL_CBWR COMPATIBLE
and AVX2, MKL_ENABLE_INSTRUCTIONS and ONEDNN_MAX_CPU_ISA of SSE4, two threads in place of one: at
most 7.3e-8; the same settings again: 0. What is to be found is larger: a weight decay of 0.1001 in
place of 0.1 moves losses by at least 3.1e-6, an epsilon of 2e-8 in place of 1e-8 by 2.7e-5."""
LR_TOLERANCE = 1e-12
"""Relative; plain arithmetic but for a cosine."""


def curves_of(case: Mapping[str, Any], folder: Path) -> dict[str, list[float]]:
    """Each metric of the run, step by step."""
    run = RunDirectory(folder / "run")
    config = write_run(folder / "data")
    run_distributed(train_run, case["ranks"], config, case["overrides"], run.path)
    lines = read_jsonl(run.metrics)
    return {name: [line[name] for line in lines] for name in NAMES}


def origin() -> dict[str, Any]:
    """Where a recording comes from."""
    import torch

    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "command": "pytest tests/distributed/test_golden.py --record-golden",
        "recorded": datetime.date.today().isoformat(),
        "versions": {name: of for name, of in versions().items() if name != "megatron_codemix"},
        "cpu": models[0].partition(": ")[2] if models else "unknown",
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_losses_are_those_recorded(path: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    case = read_json(path)
    curves = curves_of(case, tmp_path)
    if pytestconfig.getoption("record_golden"):
        asked = {name: case[name] for name in ("ranks", "overrides")}
        write_json(path, {"origin": origin(), **asked, "curves": curves})
        pytest.skip(f"recorded {path.name}")
    (tokens, rates, losses), recorded = (
        [each[name] for name in NAMES] for each in (curves, case["curves"])
    )
    assert tokens == recorded[0]
    assert rates == pytest.approx(recorded[1], rel=LR_TOLERANCE)
    assert losses == pytest.approx(recorded[2], abs=LOSS_TOLERANCE), case["origin"]
    assert losses[0] - losses[-1] > 0.3  # a run that learns nothing would fix nothing
