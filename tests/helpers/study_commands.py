"""Commands of a study whose processes are small scripts: they write run directories as training and
evaluation would, in milliseconds."""

import sys

from megatron_codemix.launch.local import start_program
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.evaluation import EvaluationSpec, HeldoutSpec
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.tree import StudyTree

# argv: run directory, identity, steps, what to do ("" trains to the end).
TRAIN = """
import json, pathlib, sys
run, identity, steps, deed = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
path = run / "status.json"
status = {"identity": identity, "num_steps": steps}
if path.exists():
    status = json.loads(path.read_text())
status["attempts"] = status.get("attempts", 0) + 1
status["step"] = status.get("step", 0)
print("attempt", status["attempts"])
def end(state, code, **changes):
    path.write_text(json.dumps(status | {"state": state} | changes))
    raise SystemExit(code)
if deed == "wrong input":
    print("error: no such source")
    end("failed", 2)
if deed == "bug":
    print("Traceback (most recent call last):\\nKeyError: 3")
    end("failed", 1)
if deed == "never forward":
    end("failed", 75, failures=status["attempts"])
if deed.startswith("wait for "):
    import time
    marks = path.parents[1]
    (marks / f"{path.parent.name.rpartition('-')[0]}.runs").touch()
    while not list(marks.glob(deed.removeprefix("wait for "))):
        time.sleep(0.01)
if deed == "until stopped":
    import signal
    signal.signal(signal.SIGTERM, lambda *_: end("pending", 75, step=1))
    (path.parents[1] / "waits.runs").touch()
    signal.pause()
if deed == "fail when stopped":
    import signal
    def fail(*_):
        print("error: no such shard")
        end("failed", 1)
    signal.signal(signal.SIGTERM, fail)
    (path.parents[1] / "waits.runs").touch()
    signal.pause()
if deed == "fail beside another":
    import time
    while not (path.parents[1] / "waits.runs").exists():
        time.sleep(0.01)
    print("error: no such source")
    end("failed", 2)
if deed.startswith("finish "):
    other, _, whose = deed.removeprefix("finish ").partition(" as ")
    pathlib.Path(other).mkdir(parents=True, exist_ok=True)
    done = {"identity": whose, "num_steps": 10, "step": 10, "state": "done", "attempts": 1}
    (pathlib.Path(other) / "status.json").write_text(json.dumps(done))
if deed == "killed once" and status["attempts"] == 1:
    path.write_text(json.dumps(status | {"state": "running", "step": 1}))
    import os; os.kill(os.getpid(), 9)
if deed == "preempted twice" and status["attempts"] < 3:
    end("pending", 75, step=status["step"] + 1)
if deed != "save nothing":
    folder = run / "checkpoints" / f"iter_{steps:07d}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "complete.json").write_text('{"files": {}}')
end("done", 0, step=steps, train_seconds=1.0)
"""

# argv: run directory, processes, bytes, where results go.
EVALUATE = """
import json, pathlib, sys
run, place = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[4])
step = json.loads((run / "status.json").read_text())["step"]
place.mkdir(parents=True, exist_ok=True)
summary = {"step": step, "max_bytes_per_source": int(sys.argv[3]), "sources": {}}
summary["layout"] = {"tensor": 1, "pipeline": 1, "data": int(sys.argv[2])}
(place / "heldout.summary.json").write_text(json.dumps(summary))
"""


class Scripts:
    """Commands that start the scripts above; notes what was started."""

    start = staticmethod(start_program)

    def __init__(self, tree: StudyTree, deeds: dict[str, str] | None = None) -> None:
        self.tree, self.deeds = tree, deeds or {}
        self.started: list[str] = []

    def train(self, run: RunDirectory, world_size: int) -> list[str]:
        node = self._node(run)
        self.started.append(f"train {node.label} on {world_size}")
        steps = str(self.tree.plan(node).num_steps)
        deed = self.deeds.get(node.label, "")
        return [sys.executable, "-c", TRAIN, str(run.path), str(node.identity), steps, deed]

    def evaluate(self, run: RunDirectory, asked: EvaluationSpec) -> list[str]:
        name = self._node(run).label
        assert isinstance(asked.heldout, HeldoutSpec)
        processes, size = asked.heldout.world_size, asked.heldout.max_bytes_per_source
        self.started.append(f"evaluate {name} on {processes} to {size}")
        words = [str(run.path), str(processes), str(size), str(run.evaluation)]
        return [sys.executable, "-c", EVALUATE, *words]

    def _node(self, run: RunDirectory) -> PhaseNode:
        """The first phase that is trained there."""
        digits = run.path.name.rpartition("-")[2]
        nodes = self.tree.nodes.values()
        return next(node for node in nodes if str(node.identity).startswith(digits))
