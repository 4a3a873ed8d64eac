#!/usr/bin/env bash
# Packs what deploy/build.sh built: a tarball and Debian packages in build/release/packages/. See docs/packaging.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

if [ ! -x "$gsplit" ]; then
  echo "deploy/package.sh: $gsplit is missing; run deploy/build.sh" >&2
  exit 2
fi
cd build/release
rm -rf packages
cpack --config CPackConfig.cmake > cpack.log || { cat cpack.log >&2; exit 3; }
for package in packages/*.deb packages/*.tar.gz; do
  printf '%s: %s\n' "$root/build/release/$package" "$(du -h "$package" | cut -f1)"
done
