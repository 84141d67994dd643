"""A folder of runs that several studies have in common (`--store`): what one of them has trained,
no other trains again.

    STORE/0123456789abcdef/       a run directory, named by its identity
        studies.jsonl             who has trained it, and for how long
    STORE/.locks/                 held by whoever works on a run; they end with their processes
    STORE/.jobs/                  the SLURM jobs that train or evaluate a run, or were to

Whoever comes first to a run works on it. A `study run` holds the lock of what it works on, and
hands it down to the processes that it starts: a study that is killed leaves the lock to them, and
they save and end. Others pass on to what they can do meanwhile, and look again. Trainings that no
`study run` has started, such as those of SLURM jobs, hold the lock in the run directory alone.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from megatron_codemix.errors import RunError
from megatron_codemix.files import Json, append_jsonl, field_problem, read_jsonl
from megatron_codemix.locks import exclusive, is_locked, try_lock
from megatron_codemix.runs import RunDirectory

Work = Literal["train", "evaluate"]

_OWN_LOCKS: dict[Work, str] = {"train": ".lock", "evaluate": ".evaluate.lock"}
"""What `codemix train` and `codemix evaluate` hold themselves, where they write."""
_SUBMISSION_SECONDS = 300.0
_TRAINERS_ADVICE = "not a readable list of who trained it: move it away"


@dataclass(frozen=True)
class Member:
    """A study that uses a store: its name and its folder. Made by `of`."""

    study: str
    out: Path
    """The one name of the folder that all ways to it have in common."""

    @classmethod
    def of(cls, study: str, out: Path) -> "Member":
        """However `out` was given: relative, by a link, with `..` in it."""
        return cls(study, _real(out))

    @property
    def words(self) -> str:
        return f"study {self.study} ({self.out})"


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """A study that has trained a run, or a part of it."""

    study: str
    out: str
    phase: str
    """What it calls it: `cell/phase`."""
    seconds: float
    """Of its processes."""


def require_store(store: Path) -> None:
    """Raises RunError unless runs can be written below `store`; makes the folder."""
    try:
        locks = _locks(store)
        locks.mkdir(parents=True, exist_ok=True)
        probe = locks / f".{os.uname().nodename}.{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RunError(
            f"{store}: runs cannot be kept here ({error.strerror}); give --store a folder that may "
            "be written"
        ) from error


def holds_runs(store: Path, runs: Iterable[str]) -> bool:
    """Whether one of these run directories, by whatever path, lies in `store` now."""
    return any((store / Path(run).name).is_dir() for run in runs)


def is_gone(store: Path, runs: Iterable[str], begun: Iterable[str] = ()) -> bool:
    """Whether a store that studies have used is not there: also where another folder is in its
    place, as of a disk that is not mounted. runs: those that lie in it, or are to. begun: of them
    those that are known to have been there; without them the mark of a store counts, which whoever
    uses one makes."""
    known = list(begun)
    if known:
        return not holds_runs(store, known)
    return not _locks(store).is_dir() and not holds_runs(store, runs)


@contextlib.contextmanager
def working_on(store: Path, run: RunDirectory, work: Work, member: Member) -> Iterator[int | None]:
    """Holds `run` for the block, if nobody else does: a file descriptor, for children that are to
    hold it as well; None where somebody works on it now."""
    with contextlib.ExitStack() as stack:
        handle = try_lock(_lock(store, run, work))
        if handle is not None:
            stack.enter_context(contextlib.closing(handle))
            if is_at_work(run, work):
                handle = None
        if handle is not None:
            _write_owner(handle, member)
        yield None if handle is None else handle.fileno()


def is_at_work(run: RunDirectory, work: Work) -> bool:
    """Whether a training, or an evaluation that writes where `run` has its own, holds its lock."""
    folder = run.path if work == "train" else run.evaluation
    return is_locked(folder / _OWN_LOCKS[work])


def owner_words(store: Path, run: RunDirectory, work: Work) -> str:
    """Who works on it, as far as it is known."""
    path = _lock(store, run, work)
    handle = try_lock(path)
    if handle is not None:
        handle.close()
        return "a process that no 'study run' has started"
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return f"{owner['words']}, process {owner['process']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is about to write
        return "another study"


def _write_owner(handle: IO[str], member: Member) -> None:
    owner = {"words": member.words, "process": os.getpid(), "host": os.uname().nodename}
    handle.truncate(0)
    handle.write(json.dumps(owner))
    handle.flush()


@contextlib.contextmanager
def submitting(store: Path | None) -> Iterator[None]:
    """Of two studies that submit at once, the second sees the jobs of the first."""
    if store is None:
        yield
        return
    with exclusive(_locks(store) / "submit.lock", "a submission", wait_seconds=_SUBMISSION_SECONDS):
        yield


def note_trainer(run: RunDirectory, member: Member, phase: str, seconds: float) -> None:
    """Adds to who has trained it. With 0 seconds as a training begins: who is killed is named
    too."""
    record = {"study": member.study, "out": str(member.out), "phase": phase, "seconds": seconds}
    append_jsonl(run.studies, {**record, "unix": time.time()})


def read_trainers(run: RunDirectory) -> list[Trainer]:
    """Who has trained it, in the order in which they began; [] of a run that is in no store. Raises
    RunError on a damaged file."""
    seconds: dict[tuple[str, str, str], float] = {}
    for line in read_jsonl(run.studies, _trainer_problem, advice=_TRAINERS_ADVICE):
        key = (line["study"], line["out"], line["phase"])
        seconds[key] = seconds.get(key, 0.0) + line["seconds"]
    return [
        Trainer(study=study, out=out, phase=phase, seconds=total)
        for (study, out, phase), total in seconds.items()
    ]


def _trainer_problem(line: Json) -> str | None:
    names = dict.fromkeys(("study", "out", "phase"), str)
    return field_problem(line, names | {"seconds": int | float})


def own_part(trainers: Sequence[Trainer], member: Member) -> float:
    """Which part of a run's training was this study's: 1 where no other is known."""
    total = sum(one.seconds for one in trainers)
    own = sum(one.seconds for one in trainers if _is(one, member))
    if total:
        return own / total
    return 1.0 if not trainers or any(_is(one, member) for one in trainers) else 0.0


def others_of(trainers: Sequence[Trainer], member: Member) -> list[Trainer]:
    """Those that are other studies."""
    return [one for one in trainers if not _is(one, member)]


def _is(trainer: Trainer, member: Member) -> bool:
    # Lines of earlier versions have the folder as it was given.
    return trainer.study == member.study and _real(trainer.out) == member.out


def _real(folder: Path | str) -> Path:
    return Path(os.path.realpath(folder))


def _locks(store: Path) -> Path:
    return store / ".locks"


def _lock(store: Path, run: RunDirectory, work: Work) -> Path:
    return _locks(store) / f"{work_name(run, work)}.lock"


def work_name(run: RunDirectory, work: Work) -> str:
    """Of what is to be done of a run of the store: one for its training, one for each evaluation
    that is asked for."""
    asked = "" if work == "train" else f".{Path(run.results).name}"
    return f"{run.path.name}.{work}{asked}"
