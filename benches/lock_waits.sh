#!/usr/bin/env bash
# Counts how often threads wait for a lock of the heap as they become more: a waiting thread yields, and
# nothing else in these workloads does. Prints the yields for a million operations. On a machine with fewer
# cores than threads a wait is mostly for a thread that was interrupted with the lock held.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -s)" != Linux ] || ! command -v strace >/dev/null; then
    echo "lock_waits: skipped, it counts with strace"
    exit 0
fi
threads=(1 2 4 8 16)
workloads=("trees-n 1" "larson-n 20" "xmalloc 1000" "mstress 10" "pipeline 2000")
target=${CARGO_TARGET_DIR:-target}
cargo build --quiet --release --package workload --bin workload \
    --no-default-features --features obmalloc --target-dir "$target"
counted=$(mktemp)
trap 'rm -f "$counted"' EXIT

printf '%-12s' threads "${threads[@]}"
for workload in "${workloads[@]}"; do
    read -r name scale <<<"$workload"
    printf '\n%-12s' "$name"
    for count in "${threads[@]}"; do
        said=$(WORKLOAD_THREADS=$count strace -f -c -e trace=sched_yield -o "$counted" \
            "$target/release/workload" "$name" "$scale")
        operations=$(sed -n 's/^.*operations=\([0-9]*\) .*$/\1/p' <<<"$said")
        yields=$(awk '$NF == "sched_yield" { print $4 }' "$counted")
        awk -v yields="${yields:-0}" -v operations="$operations" \
            'BEGIN { printf "%-12.1f", yields * 1e6 / operations }'
    done
done
echo
