"""Ranks that others start: torchrun for real, srun by the variables that it sets."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.commands import ENVIRONMENT
from tests.helpers.srun_tasks import slurm_variables
from tests.helpers.tiny import write_run

TRAIN = ["-m", "megatron_codemix", "train"]


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
    ranks = [
        subprocess.Popen(
            [sys.executable, *TRAIN, str(config), "--run-dir", str(tmp_path / "srun")],
            env={**ENVIRONMENT, **slurm_variables(rank, 2)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=100) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    ledgers = [(tmp_path / name / "ledger.jsonl").read_bytes() for name in ("torchrun", "srun")]
    assert ledgers[0] == ledgers[1]
    logs = sorted(path.name for path in (tmp_path / "srun" / "attempts" / "1").glob("rank*.log"))
    assert logs == ["rank0.log", "rank1.log"]
