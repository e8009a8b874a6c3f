#!/usr/bin/env bash
# Shows that libobmalloc.so serves programs that know nothing of it: small ones in ci/preload check the
# contract of each function, threads, fork, C++, a late dlopen; git, gcc, cargo, rustfmt, python3, redis
# and stress-ng do their work, with time and peak memory beside other allocators.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -sm)" != "Linux x86_64" ] || ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
    echo "preload: skipped, the library is for glibc on x86-64 Linux"
    exit 0
fi
rounds=3
source=$PWD/ci/preload
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" || true; rm -rf "$work"' EXIT
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(realpath "$target")

cargo rustc --quiet --release --features preload --crate-type cdylib
cargo build --quiet --release -p plugin
library=$target/release/libobmalloc.so

have() {
    command -v "$1" >/dev/null && return
    echo "preload: ${2:-$1} skipped, there is no $1"
    return 1
}

fail() {
    echo "preload: $*" >&2
    exit 1
}

# The small programs run without the library, too, which shows that it is not they that fail.
check() {
    local name=$1 preload=$2
    shift 2
    env LD_PRELOAD="$preload" timeout 120 "$@" || fail "$name failed (status $?)${preload:+ under $preload}"
}

if have cc "ci/preload/*.c"; then
    flags=(-O2 -Wall -Wextra -fno-builtin -pthread)
    for name in contract threads late plugin_host tuned forks returns first scarce host; do
        cc "${flags[@]}" "$source/$name.c" -o "$work/$name" -ldl
    done
    cc "${flags[@]}" -shared -fPIC "$source/tls_lib.c" -o "$work/tls0.so"
    for number in {1..29}; do cp "$work/tls0.so" "$work/tls$number.so"; done
    for number in 1 2 3; do cp "$library" "$work/late$number.so"; done
    for number in 1 2; do cp "$target/release/libplugin.so" "$work/plugin$number.so"; done

    check contract "" "$work/contract"
    check contract "$library" "$work/contract" all
    check threads "" "$work/threads" "$work"
    check threads "$library" "$work/threads" "$work"
    # Beside copies that come late, with another that was there first, and without.
    for preload in "" "$library"; do
        check late "$preload" "$work/late" "$work"/late{1,2,3}.so
        check plugin_host "$preload" "$work/plugin_host" "$work"/plugin{1,2}.so
    done
    check host "" "$work/host" "$work/late1.so"
    check tuned "" "$work/tuned" mapped
    check tuned "$library" "$work/tuned" held
    check tuned "$library" env OBMALLOC_SYSTEM_TUNING=off "$work/tuned" mapped
    check tuned "$library" env MALLOC_TRIM_THRESHOLD_=131072 "$work/tuned" mapped
    check tuned "$library" env OBMALLOC_SYSTEM_TUNING=full "$work/tuned" held
    for preload in "" "$library"; do
        check forks "$preload" "$work/forks" streams
        check forks "$preload" "$work/forks" handler
        check first "$preload" "$work/first"
        check scarce "$preload" "$work/scarce"
    done
    # glibc alone keeps what another thread has freed.
    check returns "$library" "$work/returns"
    # By itself: what starts a program has the library, too.
    said=$(LD_PRELOAD=$library OBMALLOC_NONSENSE=1 "$work/first" 2>&1) || fail "first failed (status $?)"
    [[ $said == *"ignored: OBMALLOC_NONSENSE=1"* ]] || fail "first does not say what is ignored, but: $said"
    echo "preload: contract, threads, late, plugin_host, tuned, forks, returns, first, scarce, host pass"
fi
if have c++ "ci/preload/*.cc"; then
    flags=(-O2 -Wall -Wextra -fno-builtin -pthread -std=c++17 -fsized-deallocation)
    for name in sized_delete own_new own_new_aligned own_malloc; do
        define=
        [ $name != own_new_aligned ] || define=-DALIGNED
        c++ "${flags[@]}" $define "$source/${name%_aligned}.cc" -o "$work/$name"
        check "$name" "" "$work/$name"
        check "$name" "$library" "$work/$name"
    done
    echo "preload: sized_delete, own_new, own_new_aligned, own_malloc pass"
fi

# The allocators, by the file to preload. The list is read to its end: who stops at the first match has
# ldconfig die of a broken pipe now and then, and this script with it.
find_library() {
    PATH=$PATH:/usr/sbin:/sbin ldconfig -p |
        awk -v name="$1" '$1 == name && /x86-64/ && !found++ { print $NF }'
}
declare -A files=([system]="" [obmalloc]=$library)
allocators=(system obmalloc)
for peer in jemalloc:libjemalloc.so.2 mimalloc:libmimalloc.so.2; do
    file=$(find_library "${peer#*:}")
    if [ -z "$file" ]; then
        echo "preload: ${peer%:*} skipped, there is no ${peer#*:}"
        continue
    fi
    files[${peer%:*}]=$file
    allocators+=("${peer%:*}")
done

# Whether a program's own calls of malloc reach the library.
uses() {
    LD_BIND_NOW=1 LD_DEBUG=bindings LD_PRELOAD=$library "$@" 2>&1 |
        grep -c " to $library .*symbol .malloc'" >/dev/null
}

must_use() {
    uses "$@" || fail "$1 does not take malloc from the library"
}

# Sets `time`, in milliseconds, and `peak`, in KiB, of a shell command under an allocator.
run_command() {
    local start=${EPOCHREALTIME/[.,]/}
    rm -rf "$work/run" && mkdir "$work/run"
    (cd "$work/run" && command time -f %M -o "$work/peak" timeout 120 env LD_PRELOAD="$1" sh -ec "$2") \
        >"$work/log" 2>&1 || return 1
    time=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
    peak=$(tail -n 1 "$work/peak")
}

# The same of a redis server under a benchmark, over a socket that is no network's.
run_redis() {
    local preload=$1 socket=$work/redis start pong=
    : >"$work/log"
    # Debian links the server with jemalloc.
    [ -n "$preload" ] || preload=libc.so.6
    env LD_PRELOAD="$preload" redis-server --port 0 --unixsocket "$socket" --dir "$work" --save "" \
        --appendonly no >>"$work/log" 2>&1 &
    server=$!
    for _ in {1..100}; do
        pong=$(redis-cli -s "$socket" ping 2>/dev/null) && [ "$pong" = PONG ] && break
        sleep 0.05
    done
    start=${EPOCHREALTIME/[.,]/}
    timeout 120 redis-benchmark -s "$socket" -q -n 150000 -r 100000 -d 200 -P 16 -c 20 \
        -t set,get,lpush,rpop,sadd,hset,zadd >>"$work/log" 2>&1 || return 1
    time=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
    peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$server/status")
    grep -qF "$(basename "$preload")" "/proc/$server/maps" || return 1
    redis-cli -s "$socket" shutdown nosave >>"$work/log" 2>&1 || return 1
    local status=0
    wait "$server" || status=$?
    server=
    return $status
}

# A row: the best time and the highest peak of some rounds under each allocator in turn.
row() {
    local name=$1 allocator round
    local -A best=() highest=() failed=()
    shift
    for ((round = 0; round < rounds; round++)); do
        for allocator in "${allocators[@]}"; do
            [ -z "${failed[$allocator]:-}" ] || continue
            if ! "$@" "${files[$allocator]}" "${command:-}"; then
                failed[$allocator]=1
                [ -z "$server" ] || kill "$server" 2>/dev/null || true
                server=
                if [ "$allocator" = obmalloc ]; then
                    tail -n 30 "$work/log" >&2
                    fail "$name failed under the library"
                fi
                continue
            fi
            if [ -z "${best[$allocator]:-}" ] || [ "$time" -lt "${best[$allocator]}" ]; then
                best[$allocator]=$time
            fi
            [ "$peak" -le "${highest[$allocator]:-0}" ] || highest[$allocator]=$peak
        done
    done
    printf '%-28s' "$name"
    for allocator in "${allocators[@]}"; do
        if [ -n "${failed[$allocator]:-}" ]; then
            printf '%20s' failed
        else
            awk -v time="${best[$allocator]}" -v peak="${highest[$allocator]}" \
                'BEGIN { printf "%7.2f s %6.1f MiB", time / 1000, peak / 1024 }'
        fi
    done
    echo
}

if ! command -v time >/dev/null; then
    echo "preload: programs skipped, there is no time (a program, not the shell's word)"
    exit 0
fi
printf '\nBest time of %s rounds and highest peak of a process.\n%-28s' "$rounds" program
printf '%20s' "${allocators[@]}"
echo

if have git; then
    must_use git --version
    # A history of 1,500 commits to 40 files.
    awk 'BEGIN {
        for (commit = 1; commit <= 1500; commit++) {
            print "commit refs/heads/main\ncommitter A <a@example.org> " 1e9 + commit * 60 " +0000\ndata 7\nchange\n"
            file = commit * 7 % 40
            lines[file] = lines[file] "line " commit " of file " file " says " commit * 7919 % 10007 "\n"
            if (commit % 5 == 0) sub(/line [0-9]+/, "edited", lines[file])
            print "M 644 inline folder" file % 6 "/file" file "\ndata " length(lines[file]) "\n" lines[file]
        }
    }' >"$work/history"
    command="
        git init -q --bare first
        git -C first fast-import --quiet <$work/history
        git clone -q --no-local -b main first second
        cd second
        for format in -p --stat -p; do git log \$format >../log; done
        for file in */*; do git blame \$file >../blame; done
        git fsck --full --no-progress
        git gc -q --aggressive"
    row git run_command
fi
if have gcc; then
    must_use "$(gcc -print-prog-name=cc1)" --version
    awk 'BEGIN {
        print "#include <stdio.h>\n#include <string.h>"
        for (i = 0; i < 150; i++) {
            print "struct s" i " { int a[" i % 7 + 2 "]; struct s" i " *next; double d; };"
            print "long f" i "(struct s" i " *p, const char *text, long n) { long sum = " i "; while (p) {"
            print "for (int j = 0; j < " i % 7 + 2 "; j++) switch (p->a[j] % 5) { case 0: sum += j * n; break;"
            print "case 1: sum ^= strlen(text); break; case 2: p->d *= 1.5; break; default: p->a[j] = (int)sum; }"
            print "if (sum > n) sum -= " (i ? "f" i - 1 "(0, text, n - 1)" : "1") "; p = p->next; } return sum; }"
        }
    }' >"$work/long.c"
    command="
        for name in contract threads late; do gcc -O2 -pthread -I$source $source/\$name.c -o \$name -ldl; done
        gcc -O2 -c $work/long.c"
    row gcc run_command
fi
# The programs themselves, not rustup's of the same names.
tools=$(rustc --print sysroot)/bin
awk 'BEGIN {
    for (i = 0; i < 120; i++) {
        print "#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)] pub struct S" i
        print "{ pub a: u64, pub b: String, pub c: Vec<u32>, pub d: Option<Box<S" i ">> }"
        print "impl S" i " { pub fn f(&self, n: u64) -> u64 { let mut sum = n;"
        print "for (i, x) in self.c.iter().enumerate()"
        print "{ if x % 3 == 0 { sum += i as u64 * u64::from(*x) } else { sum ^= self.a.rotate_left(*x % 64) } }"
        print "match &self.d { Some(d) if sum > " i " => d.f(sum / 2), Some(_) => 0,"
        print "None => sum + self.b.len() as u64 } } }"
    }
}' >"$work/lib.rs"
if [ -x "$tools/cargo" ]; then
    must_use "$tools/cargo" --version
    name=cargo
    uses "$tools/rustc" --version || name="cargo (rustc has its own)"
    command="
        mkdir src
        cp $work/lib.rs src
        printf '[package]\nname = \"many\"\nedition = \"2021\"\n' >Cargo.toml
        RUSTC=$tools/rustc CARGO_TARGET_DIR=\$PWD/target CARGO_BUILD_JOBS=1 $tools/cargo build --quiet --offline"
    row "$name" run_command
else
    echo "preload: cargo skipped, there is none in $tools"
fi
if [ -x "$tools/rustfmt" ]; then
    must_use "$tools/rustfmt" --version
    command="
        for i in 1 2 3 4 5 6 7 8 9; do cat $work/lib.rs $work/lib.rs >>many.rs; done
        $tools/rustfmt --edition 2021 many.rs"
    row rustfmt run_command
else
    echo "preload: rustfmt skipped, there is none in $tools"
fi
# The first python3 that has its own tests.
tests="test_dict test_list test_json test_re"
python=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c "import test.libregrtest, test.${tests// /, test.}" 2>/dev/null; then
        python=$("$candidate" -c "import os, sys; print(os.path.realpath(sys.executable))")
        break
    fi
done
if [ -n "$python" ]; then
    must_use "$python" --version
    command="PYTHONMALLOC=malloc $python -m test -q $tests"
    row "python3, malloc for objects" run_command
else
    echo "preload: python3 skipped, there is none with its test suite (Debian's libpython3.N-testsuite)"
fi
if have redis-server redis && have redis-benchmark redis && have redis-cli redis; then
    must_use redis-server --version
    row redis-server run_redis
fi
if have stress-ng; then
    must_use stress-ng --version
    # It calls malloc_trim all the while, of which glibc makes much work.
    command="stress-ng --malloc 2 --malloc-ops 300000 --verify --no-rand-seed --quiet"
    row "stress-ng --malloc" run_command
fi
