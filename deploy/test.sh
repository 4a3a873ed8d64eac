#!/usr/bin/env bash
# Builds and checks everything: format, layers, tests. Exits non-zero when anything fails.
#
#   deploy/test.sh          at most 15 minutes from a cold start on 2 cores
#   deploy/test.sh --full   the whole matrix of faults; also under AddressSanitizer and UBSan, and, where clang with OpenMP is, ThreadSanitizer
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

full=false
case ${1:-} in
  "") ;;
  --full) full=true ;;
  *)
    echo "deploy/test.sh: unknown argument $1; usage: deploy/test.sh [--full]" >&2
    exit 2
    ;;
esac

passed=()
skipped=()
failed=()

# check NAME COMMAND...: runs it and notes how it went, so that one failure does not hide the next.
check() {
  local name=$1
  shift
  say "$name"
  if "$@"; then passed+=("$name"); else failed+=("$name"); fi
}

skip() {
  say "$1: skipped, $2"
  skipped+=("$1: $2")
}

sources() {
  find . \( -name build -o -name '.?*' \) -prune -o \
    -type f \( -name '*.h' -o -name '*.cc' -o -name '*.cuh' -o -name '*.cu' \) -print0
}

check_format() { sources | xargs -0 clang-format --dry-run -Werror; }

# Tests of several processes are marked RUN_SERIAL, so they never meet in parallel.
run_tests() { ctest --test-dir "build/$1" -j "$jobs" --output-on-failure --no-tests=error; }

# --full: the whole matrix of faults, and not a part of it.
test_release() {
  if $full; then GSPLIT_FULL_TESTS=1 run_tests release; else run_tests release; fi
}

build_and_test() {
  cmake --preset "$1" -DPython3_EXECUTABLE="$python" && cmake --build --preset "$1" --parallel "$jobs" && run_tests "$1"
}

# Open MPI keeps what it allocates until the process ends.
test_asan() (
  export ASAN_OPTIONS=fast_unwind_on_malloc=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
  export LSAN_OPTIONS=suppressions=$root/tests/sanitizers/lsan.supp:print_suppressions=0
  build_and_test asan
)

# The libraries are not instrumented: what they do with their own locks looks like races.
test_tsan() (
  export TSAN_OPTIONS=ignore_noninstrumented_modules=1:suppressions=$root/tests/sanitizers/tsan.supp
  build_and_test tsan
)

have_clang_openmp() {
  echo 'int main() {}' | clang++ -fopenmp -x c++ - -o /dev/null 2>/dev/null
}

count_tests() { ctest --test-dir build/release -N -L "^$1\$" | sed -n 's/^Total Tests: //p'; }

# The lines in which tests of the release build say why they were skipped: ours, and GoogleTest's.
reasons_of_skips() {
  local log=build/release/Testing/Temporary/LastTest.log
  if [ -f "$log" ]; then sed -n 's/^skipped: //p; /: Skipped$/{n;p}' "$log" | sort -u; fi
}

summary() {
  say "Summary"
  local reasons
  mapfile -t reasons < <(reasons_of_skips)  # before ctest -N, which empties the log
  printf 'tests in build/release:'
  local label
  for label in unit mpi gpu e2e; do printf ' %s %s' "$label" "$(count_tests "$label")"; done
  printf '\n'
  local line
  for line in "${reasons[@]}"; do echo "skipped  test: $line"; done
  for line in "${passed[@]}"; do echo "passed   $line"; done
  for line in "${skipped[@]}"; do echo "skipped  $line"; done
  for line in "${failed[@]}"; do echo "FAILED   $line"; done
}

deploy/install.sh
deploy/build.sh
check "Format" check_format
check "Layers" "$python" tests/check_layers.py
check "Tests" test_release
if $full; then
  if [ -n "$(find_cuda)" ]; then
    check "gpu-on-cpu's own tests" tests/gpu_on_cpu/test.sh
  else
    skip "gpu-on-cpu's own tests" "no CUDA toolkit (deploy/install.sh --cuda)"
  fi
  check "Tests under AddressSanitizer and UBSan" test_asan
  if have_clang_openmp; then
    check "Tests under ThreadSanitizer" test_tsan
  else
    skip "Tests under ThreadSanitizer" "clang++ with OpenMP is missing (Debian: clang libomp-dev)"
  fi
fi
summary
[ ${#failed[@]} -eq 0 ]
