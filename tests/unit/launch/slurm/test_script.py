"""Batch scripts: what they ask for, read back as sbatch and bash would; and run by bash, with
stand-ins for SLURM's programs."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.files import read_jsonl
from megatron_codemix.launch.slurm.cluster import ClusterSpec
from megatron_codemix.launch.slurm.script import NO_STORE, Job, Shape, render_script, shape_of
from megatron_codemix.launch.slurm.starts import starts_beside
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.record import read_record
from tests.helpers.queue_in_memory import options_of

IDENTITY = "a" * 64


def cluster(**fields: Any) -> ClusterSpec:
    base = {"partition": "gpu", "gpus_per_node": 8, "cpus_per_task": 12, "time_limit": "1-00:00:00"}
    return ClusterSpec.model_validate({**base, **fields})


def job(**fields: Any) -> Job:
    base = Job(
        name="study:cell/phase:train",
        title="Study study: train phase cell/phase",
        folder=Path("/out"),
        log=Path("/out/run/train.log"),
        command=["train", "/out/run/config.yaml", "--run-dir", "/out/run"],
        shape=Shape(4, 8, 8),
        cpus_per_task=12,
        time_limit_seconds=90000,
        after=["study", "job-ended", "train"],
        stop_before_end_seconds=600,
        mounts=[Path("/out"), Path("/data/shards")],
    )
    return replace(base, **fields)


def srun_words(script: str) -> list[str]:
    """The words of the srun command, its lines joined as bash joins them."""
    joined = script.replace("\\\n", " ")
    (line,) = [line for line in map(str.strip, joined.splitlines()) if line.startswith("srun ")]
    return shlex.split(line.removesuffix("&"))


def assert_is_bash(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_script_says_to_sbatch_what_was_asked() -> None:
    site = cluster(
        account="lab", qos="long", constraint="h100&nvlink", gpu_type="h100",
        extra_sbatch=["--exclusive"],
    )  # fmt: skip
    script = render_script(site, job(memory_per_node="0"))
    assert script.startswith("#!/bin/bash\n")
    assert options_of(script) == {
        "--job-name": "study:cell/phase:train",
        "--partition": "gpu",
        "--account": "lab",
        "--qos": "long",
        "--constraint": "h100&nvlink",
        "--nodes": "4",
        "--ntasks-per-node": "8",
        "--cpus-per-task": "12",
        "--gpus-per-node": "h100:8",
        "--mem": "0",
        "--time": "1-01:00:00",
        "--signal": "B:USR1@600",
        "--chdir": "/out",
        "--output": "/out/run/train.log",
        "--open-mode": "append",
        "--requeue": "",
        "--kill-on-invalid-dep": "yes",
        "--exclusive": "",
    }
    assert_is_bash(script)


def test_options_stand_before_the_first_command() -> None:
    """sbatch reads no further than that."""
    script = render_script(cluster(modules=["cuda/13.0"]), job())
    lines = [line for line in script.splitlines() if line.strip()]
    first = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first:])
    assert "module load cuda/13.0" in lines[first:]


def test_srun_starts_all_processes_of_the_command() -> None:
    words = srun_words(render_script(cluster(srun_options=["--mpi=none"]), job()))
    assert words[:6] == [
        "srun", "--nodes=4", "--ntasks=32", "--cpus-per-task=12", "--kill-on-bad-exit=0",
        "--wait=60",
    ]  # fmt: skip
    own = [sys.executable, "-m", "megatron_codemix"]
    assert words[6:] == ["--mpi=none", *own, *job().command]


def test_what_is_no_word_for_bash_is_quoted() -> None:
    folder = Path("/a b/it's $HOME/100%j")
    strange = job(folder=folder, log=folder / "x.log", command=["train", str(folder)])
    script = render_script(cluster(environment={"NOTE": "a 'b' $HOME `id`"}), strange)
    assert_is_bash(script)
    options = options_of(script)
    assert options["--chdir"] == str(folder)
    assert options["--output"] == "/a b/it's $HOME/100%%j/x.log"
    assert srun_words(script)[-1] == str(folder)
    (line,) = [line for line in script.splitlines() if line.startswith("export NOTE=")]
    shown = subprocess.run(
        ["bash", "-c", f'{line}; printf %s "$NOTE"'], capture_output=True, text=True
    )
    assert shown.stdout == "a 'b' $HOME `id`"


def test_containers_see_the_study_and_its_data() -> None:
    pyxis = {"kind": "pyxis", "image": "img.sqsh", "mounts": ["/data:/data:ro", "/x:/y"]}
    words = srun_words(render_script(cluster(container=pyxis), job()))
    assert "--container-image=img.sqsh" in words
    assert "--container-mounts=/data:/data:ro,/x:/y,/out:/out" in words
    assert words[words.index("codemix") :] == ["codemix", *job().command]
    apptainer = {"kind": "apptainer", "image": "img.sif", "mounts": []}
    words = srun_words(render_script(cluster(container=apptainer), job()))
    inside = words[words.index("apptainer") :]
    assert inside == [
        *(
            "apptainer",
            "exec",
            "--nv",
            "--bind",
            "/out:/out",
            "--bind",
            "/data/shards:/data/shards",
        ),
        *("img.sif", "codemix", *job().command),
    ]


@pytest.mark.parametrize(
    ("tasks", "gpus", "shape"),
    [(64, True, (8, 8, 8)), (4, True, (1, 4, 4)), (12, True, (2, 6, 6)), (9, True, (3, 3, 3)),
     (1, True, (1, 1, 1)), (16, False, (2, 8, 0)), (11, True, (11, 1, 1))],
)  # fmt: skip
def test_processes_lie_evenly_on_the_fewest_nodes(
    tasks: int, gpus: bool, shape: tuple[int, int, int]
) -> None:
    found = shape_of(cluster(), tasks, needs_gpus=gpus)
    assert found == shape
    assert found.num_tasks == tasks


class Site:
    """A folder in front of PATH whose srun, scontrol and squeue note how they were called."""

    def __init__(
        self,
        folder: Path,
        srun: str,
        state: str = "RUNNING",
        setup: Sequence[str] = (),
        before: Sequence[str] | None = None,
    ) -> None:
        self.folder, self.calls = folder, folder / "calls"
        programs = {"srun": srun, "scontrol": "", "squeue": f"echo {state}"}
        for name, body in programs.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.calls}\n{body}\n')
            path.chmod(0o755)
        # A job that was put back is ended by SLURM: here by its own sleep.
        (folder / "bin" / "sleep").write_text("#!/bin/bash\nexit 99\n")
        (folder / "bin" / "sleep").chmod(0o755)
        self.run = RunDirectory(folder / "run")
        self.script = folder / "job.sbatch"
        after = ["study", "job-ended", "train", "--run", str(self.run.path), "--out", str(folder)]
        after += ["--study", "s", "--phase", "single/p", "--max-failures", "1"]
        after += ["--results", "evaluation", "--waits", str(folder / "waits")]
        self.run.path.mkdir()
        self.starts = starts_beside(self.run.path / "train.log")
        after += ["--identity", IDENTITY, "--starts", str(self.starts)]
        made = job(before=before, after=after, starts=self.starts, sign_of_life=self.run.status)
        self.script.write_text(render_script(cluster(setup=list(setup)), made))

    def start(self) -> subprocess.Popen[str]:
        environment = os.environ | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[4]),
            "SLURM_JOB_ID": "77",
        }
        return subprocess.Popen(
            ["bash", str(self.script)], env=environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    def finished(self) -> tuple[int, list[str]]:
        """Exit code of the script, and the programs that it called."""
        process = self.start()
        output, _ = process.communicate(timeout=100)
        calls = [line.split()[0] for line in self.calls.read_text().splitlines()]
        assert process.returncode is not None, output
        return process.returncode, calls

    def write(self, **fields: Any) -> None:
        self.run.write_status(Status(identity=IDENTITY, num_steps=10, **{"step": 5} | fields))


def test_a_script_whose_run_is_done_ends_with_0(tmp_path: Path) -> None:
    site = Site(tmp_path, "exit 0")
    site.write(state="done", step=10)
    assert site.finished() == (0, ["srun"])


def test_a_script_whose_run_has_failed_puts_itself_back_and_gives_up_after_the_cap(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path, "exit 75")
    assert site.finished() == (99, ["srun", "squeue", "scontrol"])
    assert "scontrol requeue 77" in site.calls.read_text()
    site.calls.unlink()
    assert site.finished() == (2, ["srun", "squeue"])
    assert site.run.require_status().failures == 2


def test_a_script_whose_input_is_wrong_ends_with_2(tmp_path: Path) -> None:
    site = Site(tmp_path, "exit 2")
    assert site.finished() == (2, ["srun", "squeue"])


def test_a_script_whose_run_another_has_starts_no_rank_and_looks_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has asked codemix, for which a program stands that says so, and has had its node for a
    moment: no start is noted."""
    refusal = "megatron_codemix.launch.slurm.script.own_program"
    monkeypatch.setattr(refusal, lambda: ["sh", "-c", "exit 75"])
    site = Site(tmp_path, "exit 0", before=["study", "job-begins", "train"])
    assert site.finished() == (75, ["scontrol", "scontrol"])
    first, second = site.calls.read_text().splitlines()
    assert first == "scontrol requeue 77"
    assert second == "scontrol update JobId=77 StartTime=now+15minutes"
    assert not site.starts.exists()


def test_a_script_without_its_store_starts_no_rank_and_is_not_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "megatron_codemix.launch.slurm.script.own_program"
    monkeypatch.setattr(program, lambda: ["sh", "-c", f"exit {NO_STORE}"])
    site = Site(tmp_path, "exit 0", before=["study", "job-begins", "train"])
    site.calls.touch()
    assert site.finished() == (NO_STORE, [])
    assert not site.starts.exists()


def test_what_each_start_takes_is_noted_in_the_study(tmp_path: Path) -> None:
    """The second start finds that the first one's node died, an hour after its last sign of
    life."""
    site = Site(tmp_path, "exit 75")
    site.write(state="running")
    last_sign = time.time() - 3600
    os.utime(site.run.status, (last_sign, last_sign))
    began = last_sign - 600
    site.starts.write_text(f'{{"job": "77", "began_unix": {began}, "last_sign_unix": null}}\n')

    before = time.time()
    assert site.finished()[0] == 99
    after = time.time()

    lines = read_jsonl(site.starts)
    assert [sorted(line) for line in lines[1:]] == [
        ["began_unix", "job", "last_sign_unix"],
        ["ended_unix"],
    ]
    assert before <= lines[1]["began_unix"] <= lines[2]["ended_unix"] <= after
    assert lines[1]["last_sign_unix"] == int(last_sign)
    seconds = lines[2]["ended_unix"] - lines[1]["began_unix"]
    record = read_record(tmp_path, "s")
    assert record.phases["single/p"].train == pytest.approx(600 + seconds, abs=1)
    assert record.phases["single/p"].evaluate == 0
    assert record.wall_seconds == pytest.approx(lines[2]["ended_unix"] - began, abs=1)


def test_a_request_while_modules_are_loaded_starts_no_rank_and_is_no_failure(
    tmp_path: Path,
) -> None:
    setup = [f"touch {tmp_path}/loading", f"until [ -e {tmp_path}/loaded ]; do :; done"]
    site = Site(tmp_path, "exit 0", setup=setup)
    process = site.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "loading").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)
    (tmp_path / "loaded").touch()
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 99, output
    assert [line.split()[0] for line in site.calls.read_text().splitlines()] == [
        "squeue",
        "scontrol",
    ]
    status = site.run.require_status()
    assert (status.state, status.failures) == ("pending", 0)


def test_a_cancelled_script_does_not_put_itself_back(tmp_path: Path) -> None:
    site = Site(tmp_path, "exit 75", state="COMPLETING")
    site.write(state="pending")
    code, calls = site.finished()
    assert code not in (0, 75, 99)
    assert calls == ["srun", "squeue"]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_reaches_the_ranks_as_usr1_and_their_code_counts(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The ranks take their time to save after it, and the script waits for them."""
    ranks = """\
trap 'got=1' USR1
trap 'exit 1' TERM
touch began
until [ -n "$got" ]; do read -t 0.05 < <(:) || :; done
python3 - <<'END'
import json, time
status = json.load(open("run/status.json"))
json.dump(status | {"state": "pending", "updated_unix": time.time()}, open("run/status.json", "w"))
END
exit 75"""
    site = Site(tmp_path, f"cd {tmp_path}\n{ranks}")
    site.write(state="running")
    process = site.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "began").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 99, output
    assert "stopped in order after step 5" in output
    assert site.run.require_status().failures == 0


def test_the_hand_written_scripts_are_bash() -> None:
    folder = Path(__file__).parents[4] / "examples" / "slurm"
    scripts = sorted(folder.glob("*.sbatch"))
    assert [path.stem for path in scripts] == [
        "multi_node_srun", "multi_node_torchrun", "one_node",
    ]  # fmt: skip
    for path in scripts:
        assert_is_bash(path.read_text())
        options = options_of(path.read_text())
        assert options["--signal"].startswith("B:USR1@")
        assert "--requeue" in options
