#!/usr/bin/env bash
# Shows that the crate works where it has no arenas (Windows, wasm): the same tests, built as it is
# built there.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="${RUSTFLAGS:-} --cfg obmalloc_no_arenas"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/no-arenas
cargo test --tests
