#!/usr/bin/env bash
# Shows that no program of requests that a fuzzer comes up with, led by what code it reaches, gets a block
# that is misaligned, another's too, overwritten or not zero, or leaves anything in the heap: 100,000
# programs, of up to four threads that take turns, in a build that checks the heap's invariants.
# Then makes mistakes on purpose, one at a time, and shows that the fuzzer finds them.
#
# `ci/fuzz.sh --seconds N` fuzzes for so long instead, and keeps what leads to code that the programs in
# ci/fuzz/corpus do not reach.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -s)" != Linux ] || ! command -v c++ >/dev/null; then
    echo "fuzz: skipped, it builds libFuzzer for Linux with c++"
    exit 0
fi
runs=100000
runs_for_mistake=20000
bytes_max=96
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=$target CARGO_BUILD_TARGET=$host RUST_BACKTRACE=0
# The compiler's own pass counts the edges that are taken, as `cargo fuzz` has it do; one unit of code, so
# that the linker drops no counters.
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
export RUSTFLAGS="${RUSTFLAGS:-} -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table"
fuzzer=$target/$host/release/requests
copy=$target/copy
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
seen=0
missed=0

fuzz() {
    mkdir -p "$work/found"
    "$fuzzer" "$work/found" ci/fuzz/corpus -max_len="$bytes_max" -len_control=0 -timeout=60 \
        -artifact_prefix="$work/" "$@" >"$work/log" 2>&1
}

# A mistake, made in a copy where sed's `$3` finds its place in file `$2`; the fuzzer must say what is
# wrong.
mistake() {
    rm -rf "$copy" "$work/found"
    mkdir -p "$copy/ci"
    cp -r Cargo.toml README.md src tests benches "$copy"
    cp -r ci/fuzz ci/plugin ci/probe "$copy/ci"
    sed -z "$3" "$2" >"$copy/$2"
    if cmp -s "$2" "$copy/$2"; then
        echo "fuzz: nothing to change in $2 with $3" >&2
        exit 1
    fi
    cargo build --quiet --release --locked --manifest-path "$copy/ci/fuzz/Cargo.toml"
    local status=0 found
    fuzz -runs="$runs_for_mistake" || status=$?
    found=$(grep -aE -A1 -m1 'panicked at|obmalloc: ' "$work/log" | grep -av -m1 'panicked at' || true)
    if [ "$status" = 0 ] || [ -z "$found" ]; then
        echo "fuzz: MISSED: $1 (status $status)"
        missed=$((missed + 1))
    else
        echo "fuzz: found: $1: ${found:0:110}"
        seen=$((seen + 1))
    fi
}

# Else the build of a copy, by an earlier run, would count as this one's: cargo tells them apart by the age of the
# sources that it was made from, and those of a copy lie in the target.
rm -rf "$target/$host/release/.fingerprint"/obmalloc-*
cargo build --quiet --release --locked --manifest-path ci/fuzz/Cargo.toml
if [ "${1:-}" = --seconds ]; then
    if ! fuzz -max_total_time="$2"; then
        tail -n 60 "$work/log"
        exit 1
    fi
    mkdir "$work/merged"
    # By what code is reached, not how often: few and small.
    "$fuzzer" -set_cover_merge=1 -use_counters=0 -max_len="$bytes_max" "$work/merged" ci/fuzz/corpus \
        "$work/found" >"$work/log" 2>&1
    rm -rf ci/fuzz/corpus
    mv "$work/merged" ci/fuzz/corpus
    echo "fuzz: $(find ci/fuzz/corpus -type f | wc -l) programs in the corpus"
    exit 0
fi
if ! fuzz -runs="$runs"; then
    tail -n 60 "$work/log"
    echo "fuzz: the program above fails; $fuzzer FILE runs it again, where FILE has the bytes above" >&2
    exit 1
fi
sed -n 's/^Done \(.*\)$/fuzz: \1/p' "$work/log"
grep -aE '^#[0-9]+[[:space:]]*DONE' "$work/log" | sed 's/^/fuzz: /'

mistake 'memory that was used counts as zero' src/pool.rs \
    's/header.zeroed.set(zeroed)/header.zeroed.set(zeroed || true)/'
mistake 'a request has the class of its size, whatever its alignment' src/size_class.rs \
    's/let below = (layout.align() - 1) | (ALIGNMENT - 1)/let below = ALIGNMENT - 1/'
mistake 'virgin blocks that a thread leaves are not given back' src/heap/parked.rs \
    's/unsafe { self.give_back_fresh(class, held.fresh) };/if class.bytes() > 512 { & }/'
mistake 'blocks that others carved are taken for virgin ones' src/pool.rs \
    's/if end_of_range == Some(end_of_carved)/if end_of_range.is_some()/'
mistake 'a large block grows where it is' src/global.rs \
    's/(Some(old), Some(new)) if old == new => block,\(.*release_large\)/(Some(old), Some(new)) if new.bytes() <= old.bytes() + 64 => block,\1/'
echo "fuzz: $seen mistakes found, $missed missed"
[ "$missed" = 0 ]
