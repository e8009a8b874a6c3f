#!/usr/bin/env bash
# Shows that nothing that the allocator does is undefined behaviour, as far as Miri can see: the unit tests
# and the life of blocks in miniature (tests/miniature.rs), with several orders of threads, under
# Stacked Borrows and Tree Borrows.
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=4
toolchain=
for candidate in "${MIRI_TOOLCHAIN:-nightly}" stable; do
    if cargo "+$candidate" miri --version >/dev/null 2>&1; then
        toolchain=$candidate
        break
    fi
done
if [ -z "$toolchain" ]; then
    echo "miri: skipped, no toolchain has it (rustup toolchain install nightly --component miri,rust-src)"
    exit 0
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/miri
# One thread of the harness: what the tests start is enough, and an order that fails can be run again.
miri() {
    local flags=$1
    shift
    printf '\n== miri: %s: %s\n' "$flags" "$*"
    MIRIFLAGS="-Zmiri-strict-provenance $flags" cargo "+$toolchain" miri test --quiet "$@" -- --test-threads=1
}

for borrows in "" -Zmiri-tree-borrows; do
    for ((seed = 0; seed < seeds; seed++)); do
        miri "$borrows -Zmiri-seed=$seed" --test miniature
    done
    miri "$borrows" --lib
done
