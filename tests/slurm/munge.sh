# shellcheck shell=bash
# start_munge FOLDER LOG: the daemon that signs and checks messages of this node, and waits until it answers.
start_munge() {
  local root=$1 log=$2
  # --force: a temporary folder is not as closed as a system's, and munge would refuse it.
  munged --foreground --force --num-threads=1 --key-file="$root/etc/munge.key" --socket="$root/run/munge" \
    --pid-file="$root/run/munge.pid" --seed-file="$root/run/munge.seed" --log-file="$log" 2>>"$log" &
  for _ in $(seq 200); do
    [ -S "$root/run/munge" ] && return
    sleep 0.05
  done
  echo "munged does not answer:" >&2
  tail -n 20 "$log" >&2
  return 1
}
