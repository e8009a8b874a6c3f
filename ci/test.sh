#!/usr/bin/env bash
# All checks: format, lints, tests in debug and release, documentation, machine code, models, sanitizers,
# made-up programs, other people's tests, C programs under the library to preload, and a short run of the
# comparison with other allocators.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_PROGRESS_WHEN=never

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

step cargo fmt --all --check
step cargo clippy --workspace --exclude suites --all-targets -- --deny warnings
step cargo clippy --features preload --lib -- --deny warnings
# In the profile that the comparison builds, and apart the one peer whose build has the C code of the others compiled in
# another way, so that theirs is built once.
peers=jemalloc,mimalloc,snmalloc,rpmalloc,rusty_alloc
suites=(-p suites --all-targets --no-default-features --features)
step cargo clippy --release "${suites[@]}" "$peers" -- --deny warnings
step cargo clippy --release "${suites[@]}" tcmalloc -- --deny warnings
step cargo clippy --release -p workload --features programs --bins -- --deny warnings
step cargo test
step cargo test --release
RUSTDOCFLAGS="--deny warnings" step cargo doc --no-deps
step bash ci/no_arenas.sh
step bash ci/assembly.sh
step bash ci/instructions.sh
step bash ci/no_panic.sh

# The models and the sanitizers are programs of one thread for most of their time: two at a time. What the models
# say follows at the end.
models=$(mktemp)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -f "$models"' EXIT
{
    step bash ci/loom.sh
    step bash ci/miri.sh
} >"$models" 2>&1 &
step bash ci/address_sanitizer.sh
step bash ci/thread_sanitizer.sh
step bash ci/fuzz.sh
step bash ci/others_tests.sh --quick
step bash ci/preload.sh
passed=0
wait $! || passed=$?
cat "$models"
[ "$passed" = 0 ]

step cargo bench --bench compare -- --quick --profiles release
