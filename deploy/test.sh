#!/usr/bin/env bash
# Builds and checks everything: format, layers, tests. Exits non-zero when anything fails.
#
#   deploy/test.sh          at most 15 minutes from a cold start on 2 cores: without the tests that are labelled long
#   deploy/test.sh --long   with them, half an hour
#   deploy/test.sh --full   and the whole matrix of faults; device code for all architectures, and under all schedules and checks of
#                           gpu-on-cpu; also under AddressSanitizer and UBSan, and, where clang with OpenMP is, under
#                           ThreadSanitizer and the fuzz targets for a while
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

long=false
full=false
case ${1:-} in
  "") ;;
  --long) long=true ;;
  --full) long=true full=true ;;
  *)
    echo "deploy/test.sh: unknown argument $1; usage: deploy/test.sh [--long | --full]" >&2
    exit 2
    ;;
esac

passed=()
skipped=()
failed=()
reasons=()  # in which tests say why they were skipped

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
# Device code (label gpu) has runs of its own.
run_tests() { ctest --test-dir "build/$1" -LE "$($long && echo gpu || echo 'gpu|long')" -j "$jobs" --output-on-failure --no-tests=error; }

# --full: the whole matrix of faults, and not a part of it.
test_release() {
  local status=0
  if $full; then GSPLIT_FULL_TESTS=1 run_tests release || status=$?; else run_tests release || status=$?; fi
  note_skips
  return $status
}

have_gpu() { nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

# On the GPUs of this machine.
test_on_gpus() {
  local status=0
  ctest --test-dir build/release -L gpu --output-on-failure --no-tests=error || status=$?
  note_skips
  return $status
}

# Interpreted: whether every kernel is executed and right.
test_without_gpu() {
  local status=0
  if $long; then tests/kernel_coverage build/release || status=$?; else tests/kernel_coverage build/release --short || status=$?; fi
  note_skips
  return $status
}

# --full: all of them, and not a few; in the short run those whose tests are short.
plant_bugs() {
  if $full; then
    GSPLIT_FULL_TESTS=1 "$python" tests/kernels/must_fail.py build/release
  elif $long; then
    "$python" tests/kernels/must_fail.py build/release
  else
    "$python" tests/kernels/must_fail.py build/release Mutants.test_a_barrier_dropped_from_a_tree Mutants.test_a_result_read_before_it_is_there
  fi
}

# The same under a setting of gpu-on-cpu.
test_under() { env "$1" tests/gpu_on_cpu/gpu-on-cpu ctest --test-dir build/release -L gpu --output-on-failure --no-tests=error; }

# Code for sm_80 and sm_90, and PTX of both. Spills are looked for as in the tests.
build_all_architectures() {
  cmake --preset release -B build/architectures -DCMAKE_CUDA_ARCHITECTURES="80;90" -DPython3_EXECUTABLE="$python" &&
    cmake --build build/architectures --parallel "$jobs" --target gsplit_cuda &&
    "$python" tests/kernels/resources.py build/architectures
}

check_device_code() {
  if [ ! -e build/release/libgsplit_cuda.so ]; then
    skip "Device tests" "no CUDA toolkit, so no module (deploy/install.sh --cuda)"
    return
  fi
  if have_gpu; then check "Device tests on the GPU" test_on_gpus; fi
  check "Device tests under gpu-on-cpu" test_without_gpu
  check "Planted bugs are caught" plant_bugs
  $full || return 0
  check "Module for all architectures" build_all_architectures
  local setting
  for setting in LAZY=1 ASYNC=1 SEED=1 SEED=2 RACECHECK=1 LEAKCHECK=1; do
    check "Device tests under gpu-on-cpu, $setting" test_under "GPU_ON_CPU_$setting"
  done
  check "gpu-on-cpu's own tests" tests/gpu_on_cpu/test.sh
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

# The inputs lie on a tmpfs where there is one: a target writes thousands of files a second.
test_fuzz() (
  if [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
  export ASAN_OPTIONS=quarantine_size_mb=16
  cmake --preset fuzz -DPython3_EXECUTABLE="$python" && cmake --build --preset fuzz --parallel "$jobs" && run_tests fuzz
)

have_clang_openmp() {
  echo 'int main() {}' | clang++ -fopenmp -x c++ - -o /dev/null 2>/dev/null
}

count_tests() { ctest --test-dir build/release -N -L "^$1\$" | sed -n 's/^Total Tests: //p'; }

# Keeps the lines in which the tests that ran last say why they were skipped: ours, and GoogleTest's.
note_skips() {
  local log=build/release/Testing/Temporary/LastTest.log
  if [ -f "$log" ]; then
    mapfile -t -O ${#reasons[@]} reasons < <(sed -n 's/^skipped: //p; /: Skipped$/{n;p}' "$log" | sort -u)
  fi
}

summary() {
  say "Summary"
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

deploy/install.sh --tests
deploy/install.sh --cuda || skip "CUDA toolkit" "it could not be installed"
CUDA_HOME=$(find_cuda)
export CUDA_HOME  # gpu-on-cpu reads its headers
deploy/build.sh
check "Format" check_format
check "Layers" "$python" tests/check_layers.py
check "Tests" test_release
check_device_code
if $full; then
  check "Tests under AddressSanitizer and UBSan" test_asan
  if have_clang_openmp; then
    check "Tests under ThreadSanitizer" test_tsan
    check "Fuzz targets" test_fuzz
  else
    skip "Tests under ThreadSanitizer" "clang++ with OpenMP is missing (Debian: clang libomp-dev)"
    skip "Fuzz targets" "clang++ with OpenMP is missing (Debian: clang libomp-dev)"
  fi
fi
summary
[ ${#failed[@]} -eq 0 ]
