#!/usr/bin/env bash
# Shows, with the thread sanitizer, that no two threads touch the same memory of the allocator, or the same
# block, without something that orders them: unit tests, and programs whose threads exchange blocks. The
# standard library is built anew, so that what it orders is seen.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
if [ ! -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; then
    echo "thread_sanitizer: skipped, there is no source of the standard library (rustup component add rust-src)"
    exit 0
fi
runtime=$(find "$(rustc --print target-libdir)" -name 'librustc*_rt.tsan.*' -print -quit)
if [ "$(uname -s)" != Linux ] || [ -z "$runtime" ]; then
    echo "thread_sanitizer: skipped, the toolchain has no runtime of it for $host"
    exit 0
fi
tests=(collections exchange frees_only large life miniature several_statics stats)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/thread-sanitizer CARGO_PROFILE_DEV_DEBUG=1
export CARGO_BUILD_TARGET=$host RUSTC_BOOTSTRAP=1
export RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=thread"
export TSAN_OPTIONS=halt_on_error=1

cargo test --quiet -Zbuild-std --lib
cargo test --quiet -Zbuild-std "${tests[@]/#/--test=}"
