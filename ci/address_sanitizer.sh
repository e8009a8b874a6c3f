#!/usr/bin/env bash
# Shows, with the address sanitizer, that neither the allocator nor a program under it touches what it should
# not: unit tests over arenas that the sanitizer watches; programs and property tests in which every
# free block is poisoned. Shows also that a use of a small block or a kept large one after its free is
# reported.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
runtime=$(find "$(rustc --print target-libdir)" -name 'librustc*_rt.asan.*' -print -quit)
if [ "$(uname -s)" != Linux ] || [ -z "$runtime" ]; then
    echo "address_sanitizer: skipped, the toolchain has no runtime of it for $host"
    exit 0
fi
# Left out is what bounds or measures the memory of the process, of which the sanitizer has its own, or
# corrupts the heap on purpose.
tests=(address_sanitizer collections exchange frees_only heap_map large layouts life miniature pressure
    properties queries resize several_statics stats zeroed)
measuring=(blocks_freed_by_another_thread_are_used_again blocks_of_threads_that_have_ended_are_used_again
    destructors_in_any_order_allocate_and_free)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/address-sanitizer CARGO_PROFILE_DEV_DEBUG=1
# A target that is named has its flags for itself: build scripts and procedural macros do without.
export CARGO_BUILD_TARGET=$host RUSTC_BOOTSTRAP=1
flags="${RUSTFLAGS:-} -Zsanitizer=address"
# A large block that only a small one refers to is not lost, but the arenas are no place where the leak
# check looks.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1

# These tests take blocks from floors on which a block is not yet anybody's.
RUSTFLAGS=$flags cargo test --quiet --lib
RUSTFLAGS="$flags --cfg obmalloc_address_sanitizer" cargo test --quiet "${tests[@]/#/--test=}" \
    -- "${measuring[@]/#/--skip=}"
