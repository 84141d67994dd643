"""What SLURM says of a study's jobs, asked now and then."""

import time
from pathlib import Path

from megatron_codemix.errors import CodemixError
from megatron_codemix.launch.slurm.client import QueuedJob, SlurmPrograms, missing_programs
from megatron_codemix.study.job_graph import job_name
from megatron_codemix.study.job_records import read_records
from megatron_codemix.study.state import PhaseProgress
from megatron_codemix.study.submit import queued_jobs
from megatron_codemix.study.tree import StudyTree

_ASK_SLURM_EVERY_SECONDS = 15.0
"""Its controller serves all users."""


class StudyJobs:
    """What SLURM says of the study's jobs, asked now and then."""

    def __init__(self, tree: StudyTree, out: Path) -> None:
        self.tree, self.study, self.out = tree, tree.spec.name, out
        self.problem: str | None = None
        """Why it could not be asked."""
        self.live: dict[str, QueuedJob] = {}
        """By name."""
        self._asked = -_ASK_SLURM_EVERY_SECONDS

    @property
    def were_submitted(self) -> bool:
        return bool(read_records(self.out))

    def ask(self) -> None:
        """Again, if it is time."""
        if not self.were_submitted or time.monotonic() - self._asked < _ASK_SLURM_EVERY_SECONDS:
            return
        self._asked = time.monotonic()
        self.problem = next(iter(missing_programs()), None)
        if self.problem is None:
            try:
                queued = queued_jobs(self.study, self.out, SlurmPrograms())
                self.live = {job.name: job for job in queued}
            except CodemixError as error:
                self.problem = str(error)

    @property
    def may_come(self) -> bool:
        """Whether SLURM has jobs of the study, or could not be asked."""
        return bool(self.live) or self.problem is not None

    def of(self, phase: PhaseProgress) -> QueuedJob | None:
        """The job that works on a phase now, or will next."""
        training = job_name(self.study, self.tree.owner(phase.node), "train")
        names = [training, job_name(self.study, phase.node, "evaluate")]
        return next((self.live[name] for name in names if name in self.live), None)
