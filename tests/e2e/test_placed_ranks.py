"""Ranks that others start: torchrun for real, srun by the variables that it sets."""

import re
import subprocess
import sys
from pathlib import Path

from tests.helpers.commands import ENVIRONMENT
from tests.helpers.srun_tasks import slurm_variables
from tests.helpers.tiny import write_run

TRAIN = ["-m", "megatron_codemix", "train"]
IMPORTED = re.compile(r"^import time:.*\| +(\S+)$", re.MULTILINE)


def test_torchrun_and_srun_train_the_same_run(tmp_path: Path) -> None:
    config = write_run(tmp_path, layout={"tensor": 2})
    torchrun = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *(*TRAIN, str(config), "--run-dir", str(tmp_path / "torchrun")),
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert torchrun.returncode == 0, torchrun.stderr
    said = [tmp_path / f"said{rank}" for rank in range(2)]
    command = [sys.executable, *TRAIN, str(config), "--run-dir", str(tmp_path / "srun")]
    ranks = [start_task(command, rank, path) for rank, path in enumerate(said)]
    codes = [rank.wait(timeout=100) for rank in ranks]
    outputs = [path.read_text() for path in said]
    assert codes == [0, 0], outputs
    for output in outputs:
        names = set(IMPORTED.findall(output))
        assert {"torch", "megatron.core.optimizer"} <= names
        assert "torch._dynamo" not in names, "what nothing here compiles with"
    ledgers = [(tmp_path / name / "ledger.jsonl").read_bytes() for name in ("torchrun", "srun")]
    assert ledgers[0] == ledgers[1]
    logs = sorted(path.name for path in (tmp_path / "srun" / "attempts" / "1").glob("rank*.log"))
    assert logs == ["rank0.log", "rank1.log"]


def start_task(command: list[str], rank: int, said: Path) -> subprocess.Popen[bytes]:
    """One of two, which tells of its imports too. All it says is in the file."""
    environment = {**ENVIRONMENT, **slurm_variables(rank, 2), "PYTHONPROFILEIMPORTTIME": "1"}
    with said.open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)
