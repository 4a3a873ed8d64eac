# shellcheck shell=bash disable=SC2034
# Sourced by the scripts beside it: where the tree is, how many cores to use, how ranks are started.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=${JOBS:-$(nproc)}
# The distribution's Python has the NumPy that install.sh brings; another one on PATH may not.
python=${PYTHON:-/usr/bin/python3}
gsplit=$root/build/release/gsplit

# Prints the CUDA toolkit to build with, or nothing. CMakeLists.txt looks in the same places in the same order.
find_cuda() {
  local nvcc
  for nvcc in "${CUDA_HOME:-/nowhere}/bin/nvcc" "$(command -v nvcc)" /usr/local/cuda/bin/nvcc "$root/build/cuda/bin/nvcc"; do
    if [ -x "$nvcc" ]; then
      (cd "$(dirname "$(readlink -f "$nvcc")")/.." && pwd)
      return
    fi
  done
}

say() { printf '\n== %s\n' "$*"; }

# Open MPI refuses to start as root unless told twice; containers run as root. Without ssh on the
# machine its remote launcher must be left out, or MPI_Init fails. Idle OpenMP threads must sleep,
# since the ranks of one machine share its cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
if ! command -v ssh >/dev/null; then
  export OMPI_MCA_plm=${OMPI_MCA_plm:-isolated}
fi
