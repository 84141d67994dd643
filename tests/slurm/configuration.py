"""What a cluster's folder holds before its daemons start: SLURM's files, names, a key, fake GPUs.

Real programs need little of it. What is particular here:
- no cgroups and no systemd (`linuxproc`, `task/none`): containers and small machines have neither;
- `config_overrides`: a node may have more processors than the machine;
- `cred_expire`: a job that is put back into the queue waits this long, 120 s by default;
- `MinJobAge`: tests ask about jobs that have ended, of a study that may take a quarter of an hour;
- a fake GPU is a device file like /dev/null: SLURM hands it out and sets CUDA_VISIBLE_DEVICES.
"""

import os
import secrets
import stat
from pathlib import Path

NODES = ("node1", "node2", "node3", "node4")
CPUS_PER_NODE = 4
GPUS_PER_NODE = 2
PARTITION = "main"
CONTROLLER = ("ctl", "10.77.0.254")
CLIENTS = ("sbatch", "srun", "salloc", "squeue", "scontrol", "scancel", "sinfo", "sacct")
REQUEUE_SECONDS = 5

_NULL_DEVICE = os.makedev(1, 3)
_ALL_NODES = f"node[1-{len(NODES)}]"


def address_of(node: str) -> str:
    """A network of the cluster's own, so that the numbers cannot be taken."""
    return f"10.77.0.{NODES.index(node) + 1}"


def write_folder(root: Path) -> None:
    """All files that do not depend on process numbers. `root` is absent or empty."""
    for name in ("etc", "bin", "bin-inside", "log", "run", "state", "spool", "gpu"):
        (root / name).mkdir(parents=True)
    key = root / "etc" / "munge.key"
    key.touch(mode=0o400)
    key.write_bytes(secrets.token_bytes(128))
    names = [("localhost", "127.0.0.1"), CONTROLLER, *((node, address_of(node)) for node in NODES)]
    hosts = "".join(f"{address} {name}\n" for name, address in names)
    (root / "etc" / "hosts").write_text(hosts)
    # No DNS inside: each look-up of an address would wait 10 s for an answer.
    (root / "etc" / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    for number in range(GPUS_PER_NODE):
        os.mknod(root / "gpu" / f"nvidia{number}", stat.S_IFCHR | 0o666, _NULL_DEVICE)
    gpus = f"{root}/gpu/nvidia[0-{GPUS_PER_NODE - 1}]"
    (root / "etc" / "gres.conf").write_text(f"NodeName={_ALL_NODES} Name=gpu File={gpus}\n")
    (root / "etc" / "slurm.conf").write_text(slurm_conf(root))


def slurm_conf(root: Path) -> str:
    """The one file that controller, nodes and clients read."""
    return (
        f"""\
ClusterName=tests
SlurmctldHost={CONTROLLER[0]}({CONTROLLER[1]})
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/run/munge,cred_expire={REQUEUE_SECONDS}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd.%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/log/jobs
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
BatchStartTimeout=30
KillWait=10
MinJobAge=7200
SlurmdParameters=config_overrides
GresTypes=gpu
"""
        + "".join(
            f"NodeName={node} NodeAddr={address_of(node)} CPUs={CPUS_PER_NODE} Sockets=1 "
            f"CoresPerSocket={CPUS_PER_NODE} ThreadsPerCore=1 RealMemory=8000 "
            f"Gres=gpu:{GPUS_PER_NODE}\n"
            for node in NODES
        )
        + f"PartitionName={PARTITION} Nodes={_ALL_NODES} Default=YES MaxTime=INFINITE State=UP\n"
    )


def write_clients(root: Path, found: dict[str, str], namespaces_of: int) -> None:
    """`bin`, for a PATH outside: SLURM's programs inside the cluster's network, under its name.
    `bin-inside`, which nodes see in its place: the programs themselves.

    found: the programs' paths. namespaces_of: the cluster's first process.
    """
    for name, program in found.items():
        (root / "bin-inside" / name).symlink_to(program)
        place = f"/proc/{namespaces_of}/ns"
        enter = f"nsenter --net={place}/net --uts={place}/uts"
        wrapper = root / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nexec {enter} {program} "$@"\n')
        wrapper.chmod(0o755)
