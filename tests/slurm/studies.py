"""Studies on the tests' cluster: submitted as a user does, watched by what SLURM says of their
jobs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from megatron_codemix.files import Json, read_json
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.job_records import read_records
from megatron_codemix.study.record import StudyRecord, read_record
from tests.helpers.commands import codemix
from tests.helpers.tiny import SEQUENCE, default_config, merge, write_run
from tests.slurm.cluster import Cluster
from tests.slurm.configuration import PARTITION
from tests.slurm.jobs import ASK_SECONDS, ENDED, Job

STEP_TOKENS = 8 * SEQUENCE
"""Of `small_study`."""


@dataclass(frozen=True, kw_only=True)
class StudyOnCluster:
    """A study file, its data, and a folder that jobs of `cluster` fill."""

    cluster: Cluster
    name: str
    file: Path
    site: Path
    """The cluster file."""
    out: Path
    options: Sequence[str | Path] = ()
    """More words of `study submit`."""

    def submit(self) -> Json:
        """What `codemix study submit` says it has done."""
        words = ["--cluster", self.site, "--out", self.out, "--json", *self.options]
        return json.loads(self.codemix("submit", self.file, *words))

    def codemix(self, *words: str | Path) -> str:
        """What `codemix study` prints on the cluster's login node; fails where that does."""
        done = codemix("study", *words, environment=self.cluster.environment)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self) -> dict[str, Job]:
        """The last submission of each job, by its name without the study's."""
        return {
            name.removeprefix(f"{self.name}:"): Job(self.cluster, int(record.id), Path(record.log))
            for name, record in read_records(self.out).items()
        }

    def states(self) -> dict[str, str]:
        """The same: what SLURM says of each."""
        return {name: job.field("JobState") for name, job in self.jobs().items()}

    def record(self) -> StudyRecord:
        """`study.json`."""
        return read_record(self.out, self.name)

    def run(self, phase: str) -> RunDirectory:
        """Of a phase of the one cell."""
        return RunDirectory(self.out / self.record().runs[f"single/{phase}"])

    def report(self) -> dict[str, Any]:  # Any: JSON values
        """`report.json`."""
        return read_json(self.out / "report.json")

    def wait_for_end(self, seconds: float) -> None:
        """Until the report is written, whose job waits for the end of all others."""
        report = self.jobs()["report"]
        self.cluster.wait_for(
            f"the end of {self.name}",
            lambda: report.field("JobState") in ENDED,
            seconds,
            poll_seconds=ASK_SECONDS,
            also_show=self._logs,
        )
        assert report.field("JobState") == "COMPLETED", report.said()

    def _logs(self) -> dict[str, Path]:
        return {f"{path.relative_to(self.out)}": path for path in sorted(self.out.rglob("*.log"))}


def write_site(folder: Path, tasks_per_node: int, **fields: object) -> Path:
    """A cluster file for the tests' cluster, without its fake GPUs."""
    site = {
        "partition": PARTITION,
        "gpus_per_node": 0,
        "tasks_per_node": tasks_per_node,
        "cpus_per_task": 1,
        "time_limit": "30m",
        "stop_before_end": "1m",
        "environment": {"GLOO_SOCKET_IFNAME": "eth0"},
        "report": {"cpus": 1},
        **fields,
    }
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(site))
    return path


def small_study(
    folder: Path, name: str, phases: Mapping[str, object], *, num_steps: int, world_size: int
) -> Path:
    """A study of phases on a small data set in `folder`, validated at their ends; each is a variant
    of its own. A checkpoint every 20 steps."""
    write_run(folder)
    changes = {
        "train": {"train_tokens": num_steps * STEP_TOKENS},
        "checkpoint": {"save_every_tokens": 20 * STEP_TOKENS},
        "backend": {"device": "cpu"},
        "validation": {"every_tokens": num_steps * STEP_TOKENS, "max_bytes_per_source": 1024},
    }
    study = {
        "name": name,
        "world_size": world_size,
        "defaults": merge(default_config(folder), changes),
        "phases": dict(phases),
        "variants": {phase: phase for phase in phases},
        "compare": {"baseline": next(iter(phases))},
        "evaluation": {"heldout": {"kind": "validation"}},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path
