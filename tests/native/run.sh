#!/usr/bin/env bash
# Builds the extension with AddressSanitizer and UndefinedBehaviorSanitizer into a temporary folder
# and runs tests/unit/ops against it. PYTHON chooses the interpreter; arguments go to pytest.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-$repository/.venv/bin/python}
[ -x "$python" ] || python=$(command -v python3)
compiler=${CXX:-g++}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A copy of the sources: the checkout's own build is neither used nor overwritten.
mkdir "$work/build" "$work/megatron_codemix"
cp -r "$repository/csrc" "$repository/setup.py" "$work/build"
cp "$repository"/megatron_codemix/*.py "$work/megatron_codemix"
cp -r "$repository/megatron_codemix/ops" "$work/megatron_codemix"

sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
cd "$work/build"
# Warnings are errors here and not in the package, which other compilers build.
CFLAGS="$sanitize -Werror" CXXFLAGS="$sanitize -Werror" LDFLAGS="$sanitize" \
  "$python" setup.py --quiet build_ext --build-lib "$work"

# The interpreter is not instrumented, so the run-time libraries come first by hand. libstdc++ too:
# AddressSanitizer must find its exception functions when it starts. Leaks are the interpreter's.
libraries="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libstdc++.so.6)"
# Not the project's pytest settings: they put the checkout first on the path.
touch "$work/pytest.ini"
# --capture=sys leaves file descriptor 2 alone: a report goes there just before the abort.
cd "$work"
LD_PRELOAD="$libraries" \
  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 \
  UBSAN_OPTIONS=print_stacktrace=1 \
  CODEMIX_SANITIZED_BUILD="$work" \
  PYTHONPATH="$work" PYTHONDONTWRITEBYTECODE=1 PYTHONMALLOC=malloc \
  "$python" -m pytest "$repository/tests/unit/ops" -c "$work/pytest.ini" \
  --confcutdir "$repository/tests/unit" \
  --import-mode=importlib --capture=sys -p no:cacheprovider -q -rs "$@"
