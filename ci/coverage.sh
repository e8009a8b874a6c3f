#!/usr/bin/env bash
# Shows that the tests run nearly all of src: the table has the lines of each file and in total, which must not
# fall below 94 in 100; behind it are the lines that no test reaches. A process that aborts, as those that
# corrupt the heap do, leaves no profile, so that what only they reach is among them; so are functions
# that the compiler evaluates.
set -euo pipefail
cd "$(dirname "$0")/.."

percent_least=94
host=$(rustc -vV | sed -n 's/^host: //p')
work=$(realpath -m "${CARGO_TARGET_DIR:-target}")/coverage
profiles=$work/profiles
export CARGO_TARGET_DIR=$work/target
export RUSTFLAGS="${RUSTFLAGS:-} -Cinstrument-coverage"
# Four files, into which processes merge what they count, for each program.
export LLVM_PROFILE_FILE=$profiles/%4m.profraw
rm -rf "$profiles"
mkdir -p "$profiles"

# The LLVM tools that read this compiler's profiles: its own, if installed, or the system's if they are new
# enough.
find_tools() {
    local directory suffix
    printf 'fn main() {}\n' >"$work/hello.rs"
    rustc -Cinstrument-coverage "$work/hello.rs" -o "$work/hello"
    LLVM_PROFILE_FILE=$work/hello.profraw "$work/hello"
    for suffix in "" -{30..19}; do
        for directory in "$(rustc --print sysroot)/lib/rustlib/$host/bin/" ""; do
            profdata=${directory}llvm-profdata$suffix
            cov=${directory}llvm-cov$suffix
            if command -v "$profdata" >/dev/null && command -v "$cov" >/dev/null &&
                "$profdata" merge -o "$work/hello.profdata" "$work/hello.profraw" 2>/dev/null &&
                "$cov" report -instr-profile "$work/hello.profdata" "$work/hello" >/dev/null 2>&1; then
                return
            fi
        done
    done
    return 1
}

read_profile() {
    "$cov" "$@" -instr-profile "$work/profile" "${objects[@]}" -ignore-filename-regex="$others"
}

if ! find_tools; then
    echo "coverage: skipped, no llvm-cov reads this compiler's profiles (rustup component add llvm-tools)"
    exit 0
fi
cargo test --quiet --lib --tests >"$work/log" 2>&1 || {
    tail -n 60 "$work/log"
    echo "coverage: the tests fail" >&2
    exit 1
}
mapfile -t programs < <(cargo test --quiet --lib --tests --no-run --message-format=json |
    grep -oE '"executable":"[^"]+"' | cut -d '"' -f 4)
"$profdata" merge --sparse -o "$work/profile" "$profiles"/*.profraw
objects=()
for program in "${programs[@]}"; do objects+=(-object "$program"); done
# The code of the tests themselves, and of others, is not what is measured.
others='(/tests/|/tests[.]rs$|/testing[.]rs$|/model[.]rs$|/model/|/[.]cargo/|/rustc/|/registry/)'
read_profile report -show-region-summary=false -show-branch-summary=false -show-instantiation-summary=false |
    tee "$work/table"
read_profile export -format=lcov | awk -v root="$PWD/" '
    function end_run() {
        if (last) missed = missed " " (first == last ? first : first "-" last)
        last = 0
    }
    /^SF:/ { file = substr($0, 4); sub(root, "", file); missed = ""; last = 0 }
    /^DA:/ {
        split(substr($0, 4), line, ",")
        if (line[2] > 0) end_run()
        else { if (!last) first = line[1]; last = line[1] }
    }
    /^end_of_record/ { end_run(); if (missed) print "coverage: no test reaches " file ":" missed }'
awk -v least="$percent_least" '/^TOTAL/ { covered = $NF + 0 } END { exit !(covered >= least) }' "$work/table" || {
    echo "coverage: fewer than $percent_least lines in 100 are reached" >&2
    exit 1
}
