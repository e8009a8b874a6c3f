#!/usr/bin/env bash
# Shows, with the thread sanitizer, that no two threads touch the same memory of the allocator, or the same
# block, without something that orders them: threads hand over blocks through atomic places while others
# end and trim. Then opens the locks on purpose and shows that the sanitizer reports it. Where the source of
# the standard library is installed, that is built anew, so that what it orders is seen, too, and more
# programs run.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
runtime=$(find "$(rustc --print target-libdir)" -name 'librustc*_rt.tsan.*' -print -quit)
if [ "$(uname -s)" != Linux ] || [ -z "$runtime" ]; then
    echo "thread_sanitizer: skipped, the toolchain has no runtime of it for $host"
    exit 0
fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/thread-sanitizer
export CARGO_TARGET_DIR=$target CARGO_BUILD_TARGET=$host CARGO_PROFILE_DEV_DEBUG=1 RUSTC_BOOTSTRAP=1
copy=$target/copy
mkdir -p "$target"
# The standard library as it comes does without the sanitizer, which is well as long as no test depends on
# its locks and channels. The harness does, for a test's result.
echo 'race:test::event' >"$target/suppressions"
export TSAN_OPTIONS=halt_on_error=1:suppressions=$target/suppressions
sanitizer="${RUSTFLAGS:-} -Zsanitizer=thread"
hand_over() {
    RUSTFLAGS="$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer" \
        cargo test --quiet "$@" --test handover -- --test-threads=1
}

# Else the build of the copy below, by an earlier run, would count as this one's: cargo tells them apart by the
# age of the sources that it was made from, and those of the copy lie in the target.
rm -rf "$target/$host/debug/.fingerprint"/obmalloc-*
hand_over

rm -rf "$copy"
mkdir -p "$copy"
cp -r Cargo.toml Cargo.lock README.md src tests benches ci "$copy"
sed 's/match self\.0\.try_lock()/match { unsafe { self.0.force_unlock() }; self.0.try_lock() }/' src/sync/spinning.rs \
    >"$copy/src/sync/spinning.rs"
if cmp -s src/sync/spinning.rs "$copy/src/sync/spinning.rs"; then
    echo "thread_sanitizer: there is no lock to open" >&2
    exit 1
fi
if hand_over --manifest-path "$copy/Cargo.toml" >"$target/log" 2>&1; then
    echo "thread_sanitizer: MISSED: locks that keep nobody out" >&2
    exit 1
fi
if ! report=$(grep -m 1 -E 'ThreadSanitizer: data race' "$target/log"); then
    tail -n 40 "$target/log"
    echo "thread_sanitizer: locks that keep nobody out are not reported" >&2
    exit 1
fi
echo "thread_sanitizer: found: locks that keep nobody out: $report"

if [ ! -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; then
    echo "thread_sanitizer: all else skipped, there is no source of the standard library (rustup component add rust-src)"
    exit 0
fi
tests=(collections exchange frees_only large life miniature several_statics stats)
export RUSTFLAGS=$sanitizer
cargo test --quiet -Zbuild-std --lib
cargo test --quiet -Zbuild-std "${tests[@]/#/--test=}"
