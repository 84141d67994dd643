#!/usr/bin/env bash
# The first process of a cluster, in network, mount, UTS, IPC and PID namespaces of its own: when it ends, by
# whatever, the kernel ends every process below it, and with them go the interfaces and mounts. Nothing of the machine
# is changed.
#   $1: the cluster's folder
set -euo pipefail
root=$1
export SLURM_CONF=$root/etc/slurm.conf

echo ctl >/proc/sys/kernel/hostname
mount --bind "$root/etc/hosts" /etc/hosts
mount --bind "$root/etc/nsswitch.conf" /etc/nsswitch.conf

ip link set lo up
ip link add nodes type bridge
ip address add 10.77.0.254/24 dev nodes
ip link set nodes up

# shellcheck source=munge.sh
. "$(dirname "$0")/munge.sh"
start_munge "$root" "$root/log/munge.ctl.log"
slurmctld -D >>"$root/log/slurmctld.out" 2>&1 &

# The end of either is the end of the cluster. A shell that waits also takes in the processes whose parents have ended,
# which only the first process of a PID namespace can do.
wait -n
