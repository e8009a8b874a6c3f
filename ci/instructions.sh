#!/usr/bin/env bash
# Shows that the fast paths have not grown: counts the instructions that an operation of some workloads of
# the comparison takes, with valgrind, in the release profile and under fat LTO, and compares them
# with what benches/record/instructions.csv says. A count has no noise, so two per cent more fail.
#
# `ci/instructions.sh --record ALLOCATOR...` measures these allocators anew; of others, what was recorded stays.
set -euo pipefail
cd "$(dirname "$0")/.."

record=benches/record/instructions.csv
# Each workload with its scale; what comes before the timed loop is the same at twice the scale.
cases=("pairs 1" "trees-1 1" "list 5" "larson-n 5" "replace-8k 1")
tolerance_percent=2
target=${CARGO_TARGET_DIR:-target}
notes=$target/instructions

if [ "$(uname -s)" != Linux ] || ! command -v valgrind >/dev/null; then
    echo "instructions: skipped, it counts with valgrind"
    exit 0
fi

# The instructions of one run, and what it says of itself.
count() {
    WORKLOAD_THREADS=1 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>"$notes/log" >"$notes/said"
    sed -n 's/^.*Collected : \([0-9]*\).*$/\1/p' "$notes/log"
}

# A line of the record for each workload.
measure() {
    local profile=$1 allocator=$2 workload scale once twice operations
    cargo build --quiet --package workload --bin workload --profile "$profile" \
        --no-default-features --features "$allocator" --target-dir "$target"
    for case in "${cases[@]}"; do
        read -r workload scale <<<"$case"
        once=$(count "$target/$profile/workload" "$workload" "$scale")
        operations=$(sed -n 's/^.*operations=\([0-9]*\) .*$/\1/p' "$notes/said")
        twice=$(count "$target/$profile/workload" "$workload" $((2 * scale)))
        if [ -z "$operations" ]; then
            echo "instructions: $workload does not run with $allocator under valgrind" >&2
            continue
        fi
        awk -v once="$once" -v twice="$twice" -v operations="$operations" -v OFS=, \
            -v profile="$profile" -v allocator="$allocator" -v workload="$workload" \
            'BEGIN { print profile, allocator, workload, sprintf("%.2f", (twice - once) / operations) }'
    done
}

mkdir -p "$notes"
if [ "${1:-}" = --record ]; then
    shift
    touch "$record"
    {
        echo profile,allocator,workload,instructions_per_operation
        for profile in release fat-lto; do
            for allocator in "$@"; do
                measure "$profile" "$allocator"
            done
            awk -F , -v profile="$profile" -v measured=" $* " \
                '$1 == profile && !index(measured, " " $2 " ")' "$record"
        done
    } >"$notes/record"
    mv "$notes/record" "$record"
    cat "$record"
    exit 0
fi

grown=0
for profile in release fat-lto; do
    missing=${#cases[@]}
    while IFS=, read -r _ _ workload now; do
        missing=$((missing - 1))
        recorded=$(sed -n "s/^$profile,obmalloc,$workload,//p" "$record")
        printf 'instructions: %-8s %-10s %8s an operation, %8s recorded\n' \
            "$profile" "$workload" "$now" "$recorded"
        awk -v now="$now" -v recorded="$recorded" -v tolerance="$tolerance_percent" \
            'BEGIN { exit !(recorded > 0 && now <= recorded * (1 + tolerance / 100)) }' || grown=1
    done < <(measure "$profile" obmalloc)
    [ "$missing" = 0 ] || grown=1
done
if [ "$grown" = 1 ]; then
    echo "instructions: an operation takes more than recorded, or was not counted, or there is no record" >&2
    exit 1
fi
