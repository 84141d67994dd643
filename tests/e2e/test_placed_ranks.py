"""Ranks that others start: torchrun for real, srun by the variables that it sets."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.commands import ENVIRONMENT
from tests.helpers.tiny import write_run

TRAIN = ["-m", "megatron_codemix", "train"]


def slurm_variables(rank: int, num_ranks: int) -> dict[str, str]:
    return {
        "SLURM_PROCID": str(rank),
        "SLURM_NTASKS": str(num_ranks),
        "SLURM_LOCALID": str(rank),
        "SLURM_STEP_ID": "0",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "localhost",
        "MASTER_ADDR": "127.0.0.1",
    }


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
