#!/usr/bin/env bash
# Packs what deploy/build.sh built into build/gsplit-VERSION-x86_64.tar.gz, which runs on another x86-64 Linux with glibc 2.36
# or later, from any directory: the executable, the CUDA module where one was built, their libraries and Open MPI. It brings
# neither NVIDIA's driver nor its libraries: the module looks for cuBLAS, cuSPARSE, the CUDA runtime and NCCL where the loader
# does (LD_LIBRARY_PATH).
#
#   deploy/bundle.sh                 what users run
#   deploy/bundle.sh --verification  also tests and benchmarks of device code, for tests/gpu/verify.sh
#   GSPLIT_CUDA_MODULE=FILE          another module than that of build/release
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

verification=false
case ${1:-} in
  "") ;;
  --verification) verification=true ;;
  *)
    echo "deploy/bundle.sh: unknown argument $1; usage: deploy/bundle.sh [--verification]" >&2
    exit 2
    ;;
esac
for tool in patchelf ompi_info strip; do
  command -v "$tool" >/dev/null && continue
  echo "deploy/bundle.sh: $tool is missing; run deploy/install.sh" >&2
  exit 2
done
if [ ! -x "$gsplit" ]; then
  echo "deploy/bundle.sh: $gsplit is missing; run deploy/build.sh" >&2
  exit 2
fi

name=gsplit-$("$gsplit" --version | sed -n 's/.*gsplit \([0-9][0-9.]*\).*/\1/p;q')-x86_64
bundle=$root/build/$name
module=${GSPLIT_CUDA_MODULE:-$root/build/release/libgsplit_cuda.so}

# Of the system that the bundle runs on: glibc, which must fit its loader, and what NVIDIA ships.
not_ours='^(linux-vdso|ld-linux.*|libc|libm|libdl|libpthread|librt|libresolv|libutil|libanl|libmvec)\.so|^lib(cuda|cudart|cublas|cublasLt|cusparse|nvJitLink|nccl)\.so'
# Parts of Open MPI that need a fabric's own libraries, or belong to OpenSHMEM.
fabrics='^mca_(atomic|memheap|scoll|spml|sshmem)_|_(ofi|ucx|psm|psm2|openib|usnic|uct|portals4|monitoring)'

# libraries_of FILE...: the shared libraries they need, one path a line.
libraries_of() {
  ldd "$@" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u | grep -Ev "$not_ours" | awk '{print $2}' || true
}

# bring_libraries FILE...: into lib/, under the names that the loader asks for.
bring_libraries() {
  local library
  for library in $(libraries_of "$@"); do
    cp -n --dereference "$library" "$bundle/lib/$(basename "$library")"
  done
}

# bring_program FILE PLACE: finds its libraries, and those that they open, in lib/.
bring_program() {
  local file=$1 place=$bundle/$2
  mkdir -p "$(dirname "$place")"
  cp --dereference "$file" "$place"
  strip --strip-unneeded "$place"
  patchelf --force-rpath --set-rpath "\$ORIGIN/$(realpath --relative-to="$(dirname "$place")" "$bundle/lib")" "$place"
  bring_libraries "$file"
}

# Open MPI looks for its parts where it was built; these variables say where they are now.
bring_open_mpi() {
  local plugins help
  plugins=$(ompi_info --path pkglibdir --parsable | sed -n 's/^path:pkglibdir://p')
  help=$(ompi_info --path pkgdatadir --parsable | sed -n 's/^path:pkgdatadir://p')
  bring_program "$(command -v orterun)" libexec/orterun
  bring_program "$(command -v orted)" libexec/orted
  mkdir -p "$bundle/lib/openmpi" "$bundle/share/openmpi"
  local plugin
  for plugin in "$plugins"/mca_*.so; do
    if [[ $(basename "$plugin") =~ $fabrics ]]; then continue; fi
    cp "$plugin" "$bundle/lib/openmpi/"
    bring_libraries "$plugin"
  done
  cp "$help"/help-*.txt "$bundle/share/openmpi/"
  cat > "$bundle/bin/mpirun" <<'WRAPPER'
#!/bin/sh
# Open MPI of this bundle, wherever the bundle lies.
root=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
export OPAL_PREFIX="$root" OPAL_BINDIR="$root/libexec" OPAL_LIBDIR="$root/lib"
export OPAL_PKGLIBDIR="$root/lib/openmpi" OPAL_PKGDATADIR="$root/share/openmpi" OPAL_SYSCONFDIR="$root/etc"
export PMIX_MCA_pcompress_base_silence_warning=1
command -v ssh >/dev/null || export OMPI_MCA_plm="${OMPI_MCA_plm:-isolated}"
exec "$root/libexec/orterun" "$@"
WRAPPER
  chmod +x "$bundle/bin/mpirun"
}

bring_verification() {
  local program
  for program in build/release/tests/*/cuda_*_test build/release/tests/*/*/cuda_*_test build/release/tests/*/nccl_test; do
    if [ -x "$program" ]; then bring_program "$program" "libexec/tests/$(basename "$program")"; fi
  done
  bring_program build/release/bench/spmm libexec/bench/spmm
  mkdir -p "$bundle/tests" "$bundle/bench/peers"
  cp -r tests/gpu "$bundle/tests/"
  cp bench/peers/pyg_gpu.py "$bundle/bench/peers/"
}

rm -rf "$bundle"
mkdir -p "$bundle/bin" "$bundle/lib" "$bundle/etc"
bring_program "$gsplit" bin/gsplit
if [ -e "$module" ]; then bring_program "$module" lib/libgsplit_cuda.so; fi
bring_open_mpi
if $verification; then bring_verification; fi
for library in "$bundle"/lib/*.so* "$bundle"/lib/openmpi/*.so; do
  if [ "$library" = "$bundle/lib/libgsplit_cuda.so" ]; then continue; fi
  strip --strip-unneeded "$library"
  patchelf --force-rpath --set-rpath "\$ORIGIN/$(realpath --relative-to="$(dirname "$library")" "$bundle/lib")" "$library"
done
cp LICENSE README.md "$bundle/"

tar -C build -c "$name" | gzip -9 > "build/$name.tar.gz.part"
mv "build/$name.tar.gz.part" "build/$name.tar.gz"
echo "bundle: $root/build/$name.tar.gz, $(($(stat -c %s "build/$name.tar.gz") / 1024)) KiB"
