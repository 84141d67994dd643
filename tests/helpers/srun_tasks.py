"""Processes as srun starts them, without SLURM: by the variables that it sets."""

import os


def slurm_variables(rank: int, num_ranks: int) -> dict[str, str]:
    """Of one task of a step on this machine."""
    return {
        "SLURM_PROCID": str(rank),
        "SLURM_NTASKS": str(num_ranks),
        "SLURM_LOCALID": str(rank),
        "SLURM_STEP_ID": "0",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "localhost",
        "MASTER_ADDR": "127.0.0.1",
    }
