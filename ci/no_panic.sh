#!/usr/bin/env bash
# Shows that no panic is left in the release build: neither the library's object files, with the
# functions of C or without, nor a crate that calls each of its entries refer to a symbol of core's panic
# machinery.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v nm >/dev/null; then
    echo "no_panic: skipped, it reads symbols with nm"
    exit 0
fi
target=${CARGO_TARGET_DIR:-target}/no-panic
# One codegen unit, so that the compiler sees that nothing below the handlers that C calls unwinds;
# with more it leaves a guard against that, which nothing reaches.
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_TARGET_DIR=$target
cargo build --quiet --release -p probe
cargo build --quiet --release

look_at() {
    local symbols
    symbols=$(nm --undefined-only --demangle "$1" 2>/dev/null)
    if ! grep -qE 'malloc|obmalloc' <<<"$symbols"; then
        echo "no_panic: $2 does not hold the code that was to be read" >&2
        exit 1
    fi
    if grep -E 'panic|unwrap_failed|expect_failed|unwind|index_fail|handle_alloc_error' <<<"$symbols"; then
        echo "no_panic: $2 can reach the above" >&2
        exit 1
    fi
    echo "no_panic: $(grep -c ' U ' <<<"$symbols") symbols that $2 uses, no panic among them"
}

for library in obmalloc probe; do
    look_at "$target/release/lib$library.rlib" lib$library.rlib
done
if [ "$(uname -sm)" = "Linux x86_64" ] && getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
    cargo build --quiet --release --features preload --target-dir "$target/preload"
    look_at "$target/preload/release/libobmalloc.rlib" "libobmalloc.rlib with preload"
fi
