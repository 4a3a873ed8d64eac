#!/usr/bin/env bash
# Installs what building and testing gsplit on Debian 12 needs; does nothing where it is all there.
#
#   deploy/install.sh          the Debian packages
#   deploy/install.sh --tests  also programs that only tests need; without them these tests are skipped
#   deploy/install.sh --cuda   also, where no nvcc is found, a CUDA toolkit from PyPI: 1.2 GB to download, in build/cuda
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

tools=(ca-certificates git python3 python3-numpy g++ make cmake ninja-build pkg-config ccache clang-format patchelf)
libraries=(
  libopenmpi-dev openmpi-bin
  libgrpc++-dev protobuf-compiler-grpc protobuf-compiler libprotobuf-dev
  libmetis-dev libdnnl-dev libhwloc-dev
  libcli11-dev libspdlog-dev libfmt-dev libyaml-cpp-dev nlohmann-json3-dev
  zlib1g-dev libzip-dev libzstd-dev libssl-dev
  prometheus-cpp-dev
  libgtest-dev libgmock-dev
)
test_programs=(
  chromium
  openssh-server openssh-client iproute2 rsync
  slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge
  python3-yaml python3-kubernetes python3-jsonschema shellcheck
)
# The compiler (nvcc, nvvm, crt), headers (cccl), and the libraries that the module is linked with, as NVIDIA builds
# them; cusparse is linked with nvjitlink. 13.0, since drivers must know the PTX that a compiler writes, and a newer
# compiler wants a newer driver.
cuda_wheels=(
  nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85
  nvidia-cuda-runtime==13.0.96 nvidia-cublas==13.1.0.3 nvidia-cusparse==12.6.3.3 nvidia-nvjitlink==13.0.88
  nvidia-nccl-cu13==2.28.9 nvidia-nvtx==13.0.85
)

missing() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "deploy/install.sh: packages are missing, and this is neither root nor is there sudo; run it as root" >&2
    return 2
  fi
}

install_packages() {
  local needed
  mapfile -t needed < <(missing "$@")
  if [ ${#needed[@]} -eq 0 ]; then
    echo "all $# Debian packages are installed"
    return
  fi
  if ! command -v apt-get >/dev/null; then
    echo "deploy/install.sh: no apt-get here; install the equivalents of: ${needed[*]}" >&2
    return 2
  fi
  echo "installing ${#needed[@]} Debian packages: ${needed[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${needed[@]}"
}

# Wheels hold no libNAME.so to link with, and NCCL lies beside the toolkit instead of in it.
complete_toolkit() {
  local packages=$1 toolkit=$1/cu13 library
  ln -sfn lib "$toolkit/lib64"
  cp -rs "$packages"/nccl/include/. "$toolkit/include/"
  ln -sf "$packages"/nccl/lib/libnccl.so.2 "$toolkit/lib/"
  for library in "$toolkit"/lib/lib*.so.*; do
    ln -sf "$(basename "$library")" "${library%%.so.*}.so"
  done
}

install_toolkit() {
  local work=$root/build/cuda-toolkit
  install_packages python3-venv
  rm -rf "$work" "$root/build/cuda"
  /usr/bin/python3 -m venv "$work"
  "$work/bin/pip" install --quiet --no-deps --no-compile --no-cache-dir "${cuda_wheels[@]}"
  complete_toolkit "$(echo "$work"/lib/python3*/site-packages/nvidia)"
  ln -s "$(echo "$work"/lib/python3*/site-packages/nvidia/cu13)" "$root/build/cuda"
}

install_cuda() {
  local toolkit
  toolkit=$(find_cuda)
  if [ -z "$toolkit" ]; then
    echo "no nvcc on PATH, in CUDA_HOME or in /usr/local/cuda: installing ${#cuda_wheels[@]} wheels into build/cuda"
    install_toolkit
    toolkit=$(find_cuda)
  fi
  if [ -z "$toolkit" ]; then
    echo "deploy/install.sh: the wheels ${cuda_wheels[*]} brought no nvcc; install a CUDA 13 toolkit by hand" >&2
    return 3
  fi
  echo "CUDA: $toolkit ($("$toolkit/bin/nvcc" --version | sed -n 's/.*\(release [^,]*\).*/\1/p'))"
}

cuda=false
tests=false
for argument in "$@"; do
  case $argument in
    --cuda) cuda=true ;;
    --tests) tests=true ;;
    *)
      echo "deploy/install.sh: unknown argument $argument; usage: deploy/install.sh [--tests] [--cuda]" >&2
      exit 2
      ;;
  esac
done
if ! $tests; then test_programs=(); fi
install_packages "${tools[@]}" "${libraries[@]}" "${test_programs[@]}"
if $cuda; then install_cuda; fi
