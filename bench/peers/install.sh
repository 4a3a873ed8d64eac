#!/usr/bin/env bash
# Installs the peers that bench/compare.py measures against into virtual environments: DIR/dgl and DIR/pyg.
#
#   bench/peers/install.sh DIR     10 GB; PyG's extensions take a quarter of an hour to compile
#
# Versions are those that work together: DGL's last release on PyPI wants torch 2.2.
set -euo pipefail

dir=${1:?usage: bench/peers/install.sh DIR}
mkdir -p "$dir"

python3 -m venv "$dir/dgl"
"$dir/dgl/bin/pip" install -q --no-deps dgl==2.1.0
"$dir/dgl/bin/pip" install -q torch==2.2.1 'numpy<2' scipy networkx requests tqdm psutil pandas pydantic pyyaml \
  torchdata==0.7.1 safetensors

python3 -m venv "$dir/pyg"
"$dir/pyg/bin/pip" install -q torch==2.13.0 torch-geometric==2.8.1 numpy scipy psutil pyyaml safetensors setuptools wheel ninja
# torch-sparse has the sampler: pyg-lib is not on PyPI.
FORCE_ONLY_CPU=1 "$dir/pyg/bin/pip" install -q --no-build-isolation torch-scatter==2.1.2 torch-sparse==0.6.18

[ -e /usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4 ] ||
  echo "bench/peers/install.sh: the tuned settings want tcmalloc: apt-get install libtcmalloc-minimal4" >&2
