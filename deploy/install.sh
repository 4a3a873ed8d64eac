#!/usr/bin/env bash
# Installs what building and testing gsplit on Debian 12 needs; does nothing where it is all there.
#
#   deploy/install.sh          the Debian packages
#   deploy/install.sh --cuda   also a CUDA compiler, from PyPI into build/cuda-toolkit, where no nvcc is found
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

tools=(ca-certificates git python3 python3-numpy g++ make cmake ninja-build pkg-config ccache clang-format)
libraries=(
  libopenmpi-dev openmpi-bin
  libgrpc++-dev protobuf-compiler-grpc protobuf-compiler libprotobuf-dev
  libmetis-dev libdnnl-dev libhwloc-dev
  libcli11-dev libspdlog-dev libfmt-dev libyaml-cpp-dev nlohmann-json3-dev
  zlib1g-dev libzip-dev libzstd-dev libssl-dev
  libgtest-dev libgmock-dev
)
# nvcc, its front end and headers: all that compiling needs, without the libraries to run on a GPU.
# 13.0, since drivers must know the PTX that a compiler writes, and a newer compiler wants a newer driver.
cuda_wheels=("nvidia-cuda-nvcc==13.0.*" "nvidia-nvvm==13.0.*" "nvidia-cuda-crt==13.0.*"
  "nvidia-cuda-runtime==13.0.*" "nvidia-cuda-cccl==13.0.*")

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

# Prints the path of an nvcc, or nothing.
find_nvcc() {
  local candidate
  for candidate in "$(command -v nvcc)" /usr/local/cuda/bin/nvcc \
    "$root"/build/cuda-toolkit/lib/python3*/site-packages/nvidia/cu13/bin/nvcc; do
    if [ -x "$candidate" ]; then
      echo "$candidate"
      return
    fi
  done
}

install_cuda() {
  local nvcc
  nvcc=$(find_nvcc)
  if [ -z "$nvcc" ]; then
    install_packages python3-venv
    /usr/bin/python3 -m venv "$root/build/cuda-toolkit"
    "$root/build/cuda-toolkit/bin/pip" install --quiet "${cuda_wheels[@]}"
    nvcc=$(find_nvcc)
  fi
  if [ -z "$nvcc" ]; then
    echo "deploy/install.sh: the wheels ${cuda_wheels[*]} brought no nvcc; install a CUDA 13 toolkit by hand" >&2
    return 3
  fi
  echo "nvcc: $nvcc ($("$nvcc" --version | sed -n 's/.*\(release [^,]*\).*/\1/p'))"
  echo "gsplit has no device code so far: the build does not use it"
}

cuda=false
for argument in "$@"; do
  case $argument in
    --cuda) cuda=true ;;
    *)
      echo "deploy/install.sh: unknown argument $argument; usage: deploy/install.sh [--cuda]" >&2
      exit 2
      ;;
  esac
done
install_packages "${tools[@]}" "${libraries[@]}"
if $cuda; then install_cuda; fi
