#!/usr/bin/env bash
# Shows that other people's programs find nothing wrong: the test suites that well-known crates publish with
# their sources, of collections, queues, graphs and thread pools, pass with this allocator as the global
# one, in a build that checks the heap's invariants. Each must have made its requests of it.
#
# `ci/others_tests.sh --quick` runs those of the first six, which build in seconds; `ci/others_tests.sh
# NAME@VERSION...` those of other crates.
set -euo pipefail
cd "$(dirname "$0")/.."

crates=(hashbrown@0.17.2 indexmap@2.14.2 smallvec@1.16.5 slab@0.4.12 bytes@1.11.0 crossbeam-deque@0.8.8
    thin-vec@0.2.21 arrayvec@0.7.8 petgraph@0.8.3 dashmap@6.2.1 crossbeam-channel@0.5.17
    crossbeam-epoch@0.9.21 rayon@1.12.0 imbl@7.0.2)
least=6
if [ "${1:-}" = --quick ]; then
    crates=("${crates[@]:0:$least}")
elif [ $# -gt 0 ]; then
    crates=("$@")
    least=$#
fi
seconds_max=240
root=$PWD
work=$(realpath -m "${CARGO_TARGET_DIR:-target}")/others-tests
sources=$work/sources
log=$work/log
export CARGO_TARGET_DIR=$work/target CARGO_PROFILE_DEV_DEBUG=0 RUST_BACKTRACE=0
rm -rf "$sources"
mkdir -p "$sources"
ran=0
failed=0

# Puts the sources of a crate, as published, into `$sources/NAME`.
fetch() {
    local name=$1 version=$2 asking=$work/asking
    rm -rf "$asking" "$work/vendor"
    mkdir -p "$asking/src"
    : >"$asking/src/lib.rs"
    cat >"$asking/Cargo.toml" <<END
[package]
name = "asking"
edition = "2024"
[dependencies]
$name = "=$version"
[workspace]
END
    cargo vendor --quiet --versioned-dirs --manifest-path "$asking/Cargo.toml" "$work/vendor" >"$log" 2>&1 &&
        cp -r "$work/vendor/$name-$version" "$sources/$name"
}

# Has all test programs of the crate in `$1` link this allocator, and those dependencies go that only
# benchmarks use.
take_over() {
    local directory=$1 file
    awk '/^\[/ { skipped = /^\[dev-dependencies[.]criterion[.\]]/ } !skipped' "$directory/Cargo.toml" >"$work/manifest"
    cat >>"$work/manifest" <<END

[dev-dependencies.obmalloc-global]
path = "$root/ci/global"

[workspace]
END
    mv "$work/manifest" "$directory/Cargo.toml"
    printf '\n#[cfg(test)]\nextern crate obmalloc_global as _;\n' >>"$directory/src/lib.rs"
    for file in "$directory"/tests/*.rs "$directory"/tests/*/main.rs; do
        # Some count what they allocate, with an allocator of their own.
        if [ -e "$file" ] && ! grep -q global_allocator "$file"; then
            printf '\nextern crate obmalloc_global as _;\n' >>"$file"
        fi
    done
}

printf '%-20s %-9s %7s %7s %14s %9s\n' crate version passed failed allocations seconds
for crate in "${crates[@]}"; do
    name=${crate%@*}
    version=${crate#*@}
    if ! fetch "$name" "$version"; then
        printf '%-20s %-9s could not be fetched\n' "$name" "$version"
        continue
    fi
    take_over "$sources/$name"
    start=$SECONDS
    status=0
    timeout "$seconds_max" cargo test --manifest-path "$sources/$name/Cargo.toml" --lib --tests --no-fail-fast \
        >"$log" 2>&1 || status=$?
    read -r passed broken allocations < <(awk '
        /^test result: / { passed += $4; broken += $6 }
        /^obmalloc-global: / { allocations += $2 }
        END { print passed + 0, broken + 0, allocations + 0 }' "$log")
    printf '%-20s %-9s %7s %7s %14s %9s\n' "$name" "$version" "$passed" "$broken" "$allocations" \
        $((SECONDS - start))
    if [ "$status" != 0 ] || [ "$passed" = 0 ] || [ "$allocations" = 0 ]; then
        tail -n 40 "$log"
        failed=$((failed + 1))
        continue
    fi
    ran=$((ran + 1))
done
echo "others_tests: the suites of $ran crates pass, of $failed they do not"
[ "$failed" = 0 ] && [ "$ran" -ge "$least" ]
