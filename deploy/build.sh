#!/usr/bin/env bash
# Builds the release preset, executable and tests, into build/release/. JOBS limits the parallel compilations.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

cmake --preset release
cmake --build --preset release --parallel "$jobs"
echo "executable: $gsplit"
