#!/usr/bin/env bash
# The first process of a node: host name, network, /dev/shm and process numbers of its own; files are the machine's, as
# on a cluster with a shared file system. Its end is what a cut of the node's power is.
#   $1: the cluster's folder   $2: the node's name   $3: its address   file descriptor 9: the cluster's network
set -euo pipefail
root=$1 name=$2 address=$3
export SLURM_CONF=$root/etc/slurm.conf

echo "$name" >/proc/sys/kernel/hostname
mount -t tmpfs -o size=2g,mode=1777 shm /dev/shm
# Munge's socket has the same path everywhere, and each node a daemon of its own behind it.
mount -t tmpfs -o size=1m,mode=755 munge "$root/run"
# Outside, SLURM's programs enter the cluster's network first; here they are in it.
mount --bind "$root/bin-inside" "$root/bin"

in_cluster() { nsenter --net=/proc/self/fd/9 "$@"; }
ip link set lo up
# Left over for a moment where the node has only just been killed.
in_cluster ip link delete "$name" 2>/dev/null || true
ip link add eth0 type veth peer name "$name" netns /proc/self/fd/9
in_cluster ip link set "$name" master nodes up
ip address add "$address/24" dev eth0
ip link set eth0 up
exec 9<&-

# shellcheck source=munge.sh
. "$(dirname "$0")/munge.sh"
start_munge "$root" "$root/run/munge.log"
slurmd -D >>"$root/log/slurmd.$name.out" 2>&1 &
wait -n
