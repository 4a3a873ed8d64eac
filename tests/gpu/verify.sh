#!/usr/bin/env bash
# Verifies gsplit on the GPU of this machine, from an unpacked bundle that deploy/bundle.sh --verification made:
#
#   tests/gpu/verify.sh [--out DIR] [--only STEP,STEP] [--rehearse]
#
# DIR (verification/) gets verification.json and the output of what failed. NVIDIA's libraries are found where the loader finds them,
# in CUDA toolkits under /usr/local, or among Python's packages. Needs python3, and no root.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The first directory that has one of NVIDIA's libraries, unless the loader knows it.
find_library() {
  if ldconfig -p 2>/dev/null | grep -q "$1"; then return; fi
  local directory
  for directory in /usr/local/cuda*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib /usr/lib/x86_64-linux-gnu \
    $(python3 -c 'import site, sys; print(*{p for p in sys.path + site.getsitepackages() if p})' | tr ' ' '\n' | sed 's|$|/nvidia/*/lib|'); do
    if [ -e "$directory/$1" ]; then
      echo "$directory"
      return
    fi
  done
}

paths=$(for library in libcudart.so.13 libcublas.so.13 libcusparse.so.12 libnvJitLink.so.13 libnccl.so.2; do find_library $library; done | sort -u | paste -sd:)
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$paths"
exec python3 "$here/verify.py" "$@"
