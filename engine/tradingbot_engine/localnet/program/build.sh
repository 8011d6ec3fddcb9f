#!/usr/bin/env bash
# Build pool.so from pool.c (needs clang-14) into the given folder, by default this one. The result is the same bytes every time.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
into="$(cd "${1:-$here}" && pwd)"
object="$(mktemp)"
trap 'rm -f "$object"' EXIT
cd "$here"  # relative names only: no path of this machine gets into the object
clang-14 -target bpf -mcpu=v1 -O2 -Wall -Wextra -Werror -ffreestanding -fno-builtin -fno-stack-protector -fno-unroll-loops -fno-ident \
  -c pool.c -o "$object"
"${PYTHON:-python3}" link.py "$object" "$into/pool.so"
cd "$into" && sha256sum pool.so > pool.so.sha256
