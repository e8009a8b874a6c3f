#!/usr/bin/env bash
# Counts how often threads wait for a lock of the heap as they become more. In a build in which a waiting thread
# yields at once, that is how often they yield, since nothing else in these workloads does; in the usual build a
# thread yields that has waited for long, up to 128 times. Prints both for a million operations. On a machine with
# fewer cores than threads the long waits are for a thread that was interrupted with the lock held.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -s)" != Linux ] || ! command -v strace >/dev/null; then
    echo "lock_waits: skipped, it counts with strace"
    exit 0
fi
threads=(1 2 4 8 16)
workloads=("trees-n 1" "larson-n 20" "xmalloc 1000" "mstress 10" "pipeline 2000")
target=${CARGO_TARGET_DIR:-target}
counted=$(mktemp)
trap 'rm -f "$counted"' EXIT

# build FLAGS DIRECTORY: the workloads, under this allocator.
build() {
    RUSTFLAGS="${RUSTFLAGS:-} $1" cargo build --quiet --release --package workload --bin workload \
        --no-default-features --features obmalloc --target-dir "$2"
}

# yields DIRECTORY NAME SCALE THREADS: for a million operations.
yields() {
    local said operations count
    said=$(WORKLOAD_THREADS=$4 strace -f -c -e trace=sched_yield -o "$counted" "$1/release/workload" "$2" "$3")
    operations=$(sed -n 's/^.*operations=\([0-9]*\) .*$/\1/p' <<<"$said")
    count=$(awk '$NF == "sched_yield" { print $4 }' "$counted")
    awk -v count="${count:-0}" -v operations="$operations" 'BEGIN { printf "%.1f", count * 1e6 / operations }'
}

build "--cfg obmalloc_yield_at_once" "$target/lock-waits"
build "" "$target"
printf '%-12s' threads "${threads[@]}"
for workload in "${workloads[@]}"; do
    read -r name scale <<<"$workload"
    printf '\n%-12s' "$name"
    for count in "${threads[@]}"; do
        waits=$(yields "$target/lock-waits" "$name" "$scale" "$count")
        long=$(yields "$target" "$name" "$scale" "$count")
        printf '%-12s' "$waits ($long)"
    done
done
echo
