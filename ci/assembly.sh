#!/usr/bin/env bash
# Shows that under fat LTO `Box::new` of 48 bytes is at most 7 instructions on a hit, and its drop at
# most 6: from the entry of the function to its return, without the return itself and without the
# push and pop by which a function that may call `handle_alloc_error` keeps its stack aligned.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -sm)" != "Linux x86_64" ] || ! command -v objdump >/dev/null; then
    echo "assembly: skipped, it reads x86-64 machine code of Linux with objdump"
    exit 0
fi
declare -A most=([probe_box_new]=7 [probe_box_drop]=6)
target=${CARGO_TARGET_DIR:-target}
cargo build --quiet -p probe --profile fat-lto

for function in "${!most[@]}"; do
    hit=$(objdump --disassemble="$function" --no-show-raw-insn "$target/fat-lto/probe" |
        awk 'sub(/^ *[0-9a-f]+:\t/, "") && !returned { print; returned = /^ret/ }')
    work=$(grep -vE '^(ret|push|pop) *' <<<"$hit" || true)
    count=$(grep -c . <<<"$work" || true)
    printf '%s: %s instructions on a hit\n%s\n' "$function" "$count" "$(sed 's/^/    /' <<<"$work")"
    if grep -qE '^call' <<<"$work" || ! grep -q '%fs:' <<<"$work" || [ "$count" -gt "${most[$function]}" ]; then
        echo "assembly: $function is not the fast path of at most ${most[$function]} instructions" >&2
        exit 1
    fi
done
