#!/usr/bin/env bash
# Runs on a machine with one NVIDIA GPU what no other machine can try, in under 10 minutes, and writes one JSON
# file; without a GPU it runs what it can and says why the rest is left out. No setting of the GPU is changed.
#
#   tools/gpu_check.sh [--out runs/gpu_check.json] [--sections machine,tests,losses,benchmark,checkpoints,fp8]
#
# The same command after a kill goes on with what is missing. tools/write_gpu_results.py puts the file's results
# into docs/gpu_results.md.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root

python=$root/.venv/bin/python
[ -x "$python" ] || python=$(command -v python3 || true)
if [ -z "$python" ]; then
  echo "there is neither $root/.venv nor a python3 on PATH; tools/setup.sh makes the first" >&2
  exit 2
fi
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
# -P: the working directory, first on Python's path otherwise, may have a tools or a torch of its own.
if ! answer=$("$python" -P -c 'import megatron_codemix._C, megatron_codemix.cli.main' 2>&1); then
  echo "megatron_codemix does not load in $python: ${answer##*$'\n'}" >&2
  echo "tools/setup.sh makes .venv with all that it needs; or, in an environment of your own:" >&2
  echo "  $python -m pip install -e '$root[dev]'" >&2
  exit 2
fi
exec "$python" -P -m tools.gpu_check "$@"
