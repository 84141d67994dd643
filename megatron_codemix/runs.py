"""The run directory: where each file lies.

This is the contract between training, evaluation, study and report, which never import one another:

    runs/<cell>/<phase>-<identity8>/
      config.yaml                     resolved, complete
      status.json                     state, step, attempts, failures, last error
      metrics.jsonl                   a line per logged step
      validation.jsonl                a line per validation: held-out losses of each source
      validation.documents.jsonl      a line per held-out document: its loss after the last step
      ledger.jsonl                    a line per checkpoint: planned and consumed tokens per source
      skipped.jsonl                   steps whose batch was passed over because of its loss
      checkpoints/iter_0004000/       complete only once `complete.json` in it exists
      attempts/3/                     plan.json, provenance.json, rank logs
      chat_template.jinja             of conversations, where the run has learned answers alone
      studies.jsonl                   which studies have trained it, where several share it
      evaluation/<task>.jsonl         a line per item, and <task>.summary.json; of the first 50
                                      items alone <task>.first50.jsonl
      evaluation/asked-<hash8>/       the same, of what one of several studies asks for
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from megatron_codemix.errors import RunError
from megatron_codemix.files import Json, field_problem, read_jsonl, write_json
from megatron_codemix.run_status import Status, read_status

_SKIPPED_ADVICE = "not a readable list of skipped steps: restore it"
_LOG_SUFFIXES = {".out", ".err", ".log", ".txt"}
COMPLETE_MARKER = "complete.json"
CHAT_TEMPLATE = "chat_template.jinja"
HELDOUT = "heldout"
"""The task of bits per byte on held-out documents."""
EVALUATION = "evaluation"
"""Folder of a run's results."""
EVALUATED_TASKS = "tasks.json"
"""In `evaluation/`: which tasks the last evaluation was asked for; written when all are done."""


def result_stem(task: str, limit: int | None) -> str:
    """What the files of a task's results are called before their suffix. Those of its first items
    alone do not take the place of all."""
    return task if limit is None or task == HELDOUT else f"{task}.first{limit}"


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run; nothing is created until something is written."""

    path: Path
    results: str = EVALUATION
    """Folder in it with the results of the evaluation that is meant, where several are asked
    for."""

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def validation(self) -> Path:
        return self.path / "validation.jsonl"

    @property
    def validation_documents(self) -> Path:
        return self.path / "validation.documents.jsonl"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def skipped(self) -> Path:
        return self.path / "skipped.jsonl"

    @property
    def studies(self) -> Path:
        return self.path / "studies.jsonl"

    @property
    def chat_template(self) -> Path:
        return self.path / CHAT_TEMPLATE

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after `step` optimizer steps."""
        return self.checkpoints / f"iter_{step:07d}"

    def attempt(self, number: int) -> Path:
        """Folder of one start of the run, counted from 1."""
        return self.path / "attempts" / str(number)

    @property
    def evaluation(self) -> Path:
        return self.path / self.results

    def complete_steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        markers = self.checkpoints.glob(f"iter_*/{COMPLETE_MARKER}")
        return sorted(int(marker.parent.name.removeprefix("iter_")) for marker in markers)

    def incomplete_checkpoints(self) -> list[Path]:
        """Folders of saves that were cut short, or whose marker is gone."""
        folders = sorted(self.checkpoints.glob("iter_*"))
        return [folder for folder in folders if not (folder / COMPLETE_MARKER).exists()]

    def skipped_steps(self) -> set[int]:
        """Steps whose batch was passed over. Raises RunError on a damaged file."""
        lines = read_jsonl(self.skipped, step_problem, advice=_SKIPPED_ADVICE)
        return {line["step"] for line in lines}

    def read_status(self) -> Status | None:
        """The status; None where the run was never started. Raises RunError on a damaged file."""
        return read_status(self.status)

    def lost_status(self) -> str | None:
        """That there is no status, and what comes only after it: the run was started; what to do.
        None where nothing was lost."""
        if self.status.exists():
            return None
        if not (self.complete_steps() or self.ledger.exists() or self.metrics.exists()):
            return None
        return (
            f"{self.status}: is missing, and this run had it: restore it from a copy; "
            "'codemix study run' makes it again from the newest checkpoint"
        )

    def require_status(self) -> Status:
        """As `read_status`. Raises RunError also where the run was never started."""
        status = self.read_status()
        if status is None:
            raise RunError(
                f"{self.path}: no run here (status.json is missing); give the directory of a run"
            )
        return status

    def require_config(self) -> None:
        """Raises RunError where the run's configuration is not there."""
        if self.status.exists() and not self.config.is_file():
            raise RunError(
                f"{self.config}: is missing, and this run had it: restore it; 'codemix study run' "
                "writes that of a finished phase again"
            )
        if not self.config.is_file():
            raise RunError(
                f"{self.path}: no run here (config.yaml is missing); give a run directory"
            )

    def write_status(self, status: Status) -> Status:
        """Writes `status` with the present time, atomically; returns what was written."""
        stamped = replace(status, updated_unix=time.time())
        write_json(self.status, asdict(stamped))
        return stamped

    def claim(self, identity: str, *, earlier: str | None = None) -> Status:
        """The status of this run, new if the directory is empty.

        earlier: identity that the run had before its future was changed; its status goes on under
        the new one.
        A run of another identity that failed and has left nothing but logs makes way for this one.
        Raises RunError if the directory belongs to any other: its checkpoints must not be mixed
        with this run's.
        """
        status = self.read_status()
        if status is None:
            self._require_own_folder()
            return Status(identity=identity)
        if status.identity == earlier:
            return replace(status, identity=identity)
        if status.identity != identity and self._never_began(status, identity):
            return Status(identity=identity, attempts=status.attempts)
        if status.identity != identity:
            raise RunError(
                f"{self.path}: holds a run of another identity ({status.identity[:8]}, this "
                "configuration is "
                f"{identity[:8]}): something that decides what is learned has changed; compare "
                "with "
                f"'codemix config diff {self.config} YOUR_CONFIG [KEY=VALUE ...]' and use another "
                "directory"
            )
        return status

    def _never_began(self, status: Status, claimant: str) -> bool:
        """Whether the run has failed before its first step and nothing comes after it: a start that
        was refused, of a configuration that is now another. Never of a folder that is named by an
        identity, or that studies train, which others find by it."""
        if status.state != "failed" or status.step or status.train_seconds:
            return False
        is_named = any(each[:8] in self.path.resolve().name for each in (status.identity, claimant))
        kept = (self.metrics, self.validation, self.ledger, self.skipped, self.studies)
        has_records = any(path.exists() and path.stat().st_size for path in kept)
        has_saves = bool(self.complete_steps() or self.incomplete_checkpoints())
        return not (is_named or has_records or has_saves or self.evaluation.exists())

    def _require_own_folder(self) -> None:
        """Raises RunError where the folder holds something, and nothing of it is a run's. Logs do
        not count: a job's often begin before its run does."""
        if not self.path.is_dir():
            return
        names = sorted(path.name for path in self.path.iterdir())
        own = (self.config, self.checkpoints, self.metrics, self.ledger, self.skipped)
        known = {*(path.name for path in own), "attempts"}
        foreign = [
            name for name in names if name[0] != "." and Path(name).suffix not in _LOG_SUFFIXES
        ]
        if foreign and known.isdisjoint(foreign):
            raise RunError(
                f"{self.path}: holds {foreign[0]!r}{' and more' if len(foreign) > 1 else ''}, and "
                "no run (status.json is missing); give a new or an empty directory"
            )


def step_problem(line: Json) -> str | None:
    """What is wrong with a line of a file that has a line for a step; None where nothing is."""
    return field_problem(line, {"step": int})
