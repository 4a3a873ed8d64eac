#!/usr/bin/env bash
# Builds the release preset, executable and tests, into build/release/.
#
#   JOBS=N        parallel compilations, instead of one per core
#   PYTHON=PATH   the Python that runs test scripts, instead of /usr/bin/python3
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

cmake --preset release -DPython3_EXECUTABLE="$python"
cmake --build --preset release --parallel "$jobs"
echo "executable: $gsplit"
