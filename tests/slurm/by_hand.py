"""A cluster to try things on, without tests.

python -m tests.slurm.by_hand start /tmp/mine       returns when all nodes are idle; then
. /tmp/mine/env.sh                                  sets PATH and SLURM_CONF: sbatch, squeue, ...
python -m tests.slurm.by_hand cut /tmp/mine node2   cuts the power of a node
python -m tests.slurm.by_hand restore /tmp/mine     cancels all jobs, brings all nodes back
python -m tests.slurm.by_hand stop /tmp/mine        ends every process, removes the folder
"""

import shutil
import sys
from pathlib import Path

import psutil

from tests.slurm.cluster import Cluster, ClusterError, start, why_not


def main(words: list[str]) -> str:
    """What to print. Raises ClusterError, or SystemExit where the words are wrong."""
    match words:
        case ["start", folder]:
            return _start(Path(folder).resolve())
        case ["stop", folder]:
            cluster = _started(folder)
            cluster.stop()
            shutil.rmtree(cluster.root)
            return f"stopped; {cluster.root} is removed"
        case ["restore", folder]:
            _started(folder).restore()
            return "all nodes are idle"
        case ["cut", folder, node]:
            _started(folder).cut_power(node)
            return f"{node} is off"
        case _:
            raise SystemExit(__doc__)


def _start(root: Path) -> str:
    if (reason := why_not()) is not None:
        raise ClusterError(reason)
    cluster = start(root, dies_with_us=False)
    for name in ("PATH", "SLURM_CONF"):
        with (root / "env.sh").open("a") as file:
            file.write(f"export {name}='{cluster.environment[name]}'\n")
    (root / "first_process").write_text(str(cluster.first.pid))
    return f". {root}/env.sh"


def _started(folder: str) -> Cluster:
    root = Path(folder).resolve()
    try:
        first = psutil.Process(int((root / "first_process").read_text()))
        is_ours = str(root) in first.cmdline()
    except (OSError, psutil.NoSuchProcess):
        is_ours = False
    if not is_ours:
        raise ClusterError(f"{root}: no cluster runs here")
    return Cluster(root, first)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{main(sys.argv[1:])}\n")
    except ClusterError as error:
        raise SystemExit(str(error)) from error
