#!/usr/bin/env bash
# Shows that no order in which threads get their locks breaks the protocol of the heap: no block or
# pool has two owners, none is lost, no memory is touched by two threads without a lock in between,
# no thread waits for a lock while it holds one, and a fork at any moment leaves a heap in order.
# Then breaks the protocol on purpose, in one place at a time, and shows that the models notice.
#
# Runs on a copy in which the headers, the links of blocks and the bytes of the pool map are cells that
# the model checker sees.
# It changes threads where they wait for a lock; three changes that no wait forces are allowed an
# execution, since mistakes in protocols show with one or two, and all orders would take hours.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/loom
export CARGO_TARGET_DIR=$target CARGO_PROFILE_DEV_DEBUG=0 LOOM_MAX_PREEMPTIONS=3 RUST_BACKTRACE=0
export RUSTFLAGS="${RUSTFLAGS:-} --cfg loom"
seconds_max=120
copy=$target/copy
log=$target/log
changed=$target/changed
# Of the debug build, optimised is only what the models spend their time in: loom.
test_models=(cargo test --manifest-path "$copy/Cargo.toml" --quiet
    --config 'profile.dev.package."*".opt-level = 2' --lib model)
seen=0
missed=0

# Replaces the text of one place of a file of the copy, where sed's `$2` finds it.
replace() {
    sed -z "$2" "$copy/$1" >"$changed"
    if cmp -s "$changed" "$copy/$1"; then
        echo "loom: nothing to change in $1 with $2" >&2
        exit 1
    fi
    cp "$changed" "$copy/$1"
}

# A copy of the sources whose shared memory the model checker sees.
copy_sources() {
    rm -rf "$copy"
    mkdir -p "$copy"
    cp -r Cargo.toml Cargo.lock src tests benches ci README.md "$copy"
    for file in src/pool.rs src/arena/header.rs; do
        replace $file 's/use core::cell::Cell;/use crate::sync::testing::Cell;/'
    done
    replace src/pool_map.rs 's/use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};/use core::sync::atomic::{AtomicUsize, Ordering};\nuse crate::sync::testing::OwnedByte as AtomicU8;/'
    replace src/trim.rs 's/use core::sync::atomic::{AtomicUsize, Ordering};/use core::sync::atomic::Ordering;\nuse crate::sync::testing::Counter as AtomicUsize;/'
    # A heap that fits on the small stacks of the model checker's threads.
    replace src/config.rs 's/SHARD_COUNT: usize = 8/SHARD_COUNT: usize = 2/'
    replace src/config/depots.rs 's/ DEPOT_MAGAZINES: usize = 64/ DEPOT_MAGAZINES: usize = 8/'
    replace src/config.rs 's/LARGE_DEPOT_MAGAZINES: usize = 64/LARGE_DEPOT_MAGAZINES: usize = 8/'
    replace src/config.rs 's/LARGE_DEPOT_BYTES_MIN: usize = 4 << 20/LARGE_DEPOT_BYTES_MIN: usize = 1200/'
    replace src/block.rs 's/ next: Link,/ next: crate::sync::testing::Cell<Link>,/'
    replace src/block.rs 's/ below: Link,/ below: crate::sync::testing::Cell<Link>,/'
    replace src/block.rs 's/(\*cover.as_ptr()).below = noted/(*cover.as_ptr()).below.set(noted)/'
    replace src/block.rs 's/(\*cover.as_ptr()).below }/(*cover.as_ptr()).below.get() }/'
    replace src/block.rs 's/(\*block.as_ptr()).next/&.get()/'
    replace src/block.rs 's/block.write(Block { next })/(*block.as_ptr()).next.set(next)/'
}

build() {
    "${test_models[@]}" --no-run >"$log" 2>&1 && return
    cat "$log"
    echo "loom: $1 does not build" >&2
    exit 1
}

start() {
    timeout "$seconds_max" "${test_models[@]}" -- --nocapture >"$log" 2>&1 &
}

# What the first model that fails says.
found() {
    # A panic's message is on the line below its place, the allocator's own on a line of its own.
    grep -aE -A1 -m1 'panicked at|obmalloc: ' "$log" | grep -av -m1 'panicked at' || true
}

# Lets the models run until one fails.
run_until_found() {
    start
    while kill -0 $! 2>/dev/null; do
        if [ -n "$(found)" ]; then
            kill $! || true
            break
        fi
        sleep 0.2
    done
    wait $!
}

# What the models say to one mistake; they must not pass, and not merely run on for ever.
mistake() {
    copy_sources
    replace "$2" "$3"
    build "the mistake '$1'"
    local status=0
    run_until_found || status=$?
    if [ "$status" = 0 ] || [ "$status" = 124 ] || [ -z "$(found)" ]; then
        echo "loom: MISSED: $1 (status $status)"
        missed=$((missed + 1))
    else
        echo "loom: found: $1: $(found)"
        seen=$((seen + 1))
    fi
}

copy_sources
build "the heap"
start
if ! wait $!; then
    cat "$log"
    echo "loom: the models fail" >&2
    exit 1
fi
sed -n '/executions/s/^[.]*/loom: /p' "$log"

mistake 'a lock that keeps nobody out' src/sync/modelled.rs \
    's/self.mutex.get_or_init(|| \(Box::leak([^|]*)))\))/\1/'
mistake 'a new pool is seen by others before its first blocks are carved' src/heap.rs \
    's/\(let range = pool.carve(class, most);\)\n        if !pool.is_full() {\n *\(heap.used.push(pool);\)\n        }/\2\ndrop(heap);\n\1\nif pool.is_full() { self.lock(shard, class).used.remove(pool); }/;s/        self.learn_swing(class, &mut heap, range.len() as u32);\n//'
mistake 'a pool that was carved to its end stays linked' src/heap/class.rs \
    's/\(let range = pool.carve(class, most);\)\n        if pool.is_full() {[^}]*}/\1/'
mistake 'an emptied pool stays linked in its class' src/heap/class.rs \
    's/(false, true) => {\n *self.used.remove(pool);/(false, true) => {/'
mistake 'a pool is given to its arena before its class unlinks it' src/heap.rs \
    's/heap.relink(pool, change, &mut empty);\n        drop(heap);\n[^\n]*/drop(heap); if change.is_empty \&\& !change.was_full { empty.push(pool); self.arenas.give_pools(empty); self.lock(pool.shard(), class).used.remove(pool); } else { self.lock(pool.shard(), class).relink(pool, change, \&mut empty); }/'
mistake 'the rest of a fresh range comes back without the lock' src/heap.rs \
    's/\(let mut heap = self.lock(pool.shard(), class);\)\n\([^\n]*\n[^\n]*uncarve[^\n]*\)/\2\n\1/'
mistake 'blocks that others carved are taken for virgin ones' src/pool.rs \
    's/if end_of_range == Some(end_of_carved)/if end_of_range.is_some()/'
mistake 'a depot keeps the magazine that it gives' src/depot.rs \
    's/min(top);\n        let magazine = self.replace(top, Magazine::EMPTY);/min(top);\nlet magazine = self.replace(top, Magazine::EMPTY);\nlet (head, len) = magazine.into_chain();\nself.replace(top, unsafe { Magazine::from_chain(head, len) });\nlet magazine = unsafe { Magazine::from_chain(head, len) };/'
mistake 'two depots keep their magazines on one shelf' src/heap/class.rs \
    's/self.shelves.depot(self.index,/self.shelves.depot(0,/'
mistake 'what a pile covers is lost' src/depot.rs \
    's/self.replace(top, below);\n        self.base.piled -=/drop(below);\nself.base.piled -=/'
mistake 'a pile keeps the magazine that it gives' src/depot.rs \
    's/self.replace(top, below);\n        self.base.piled -= magazine.len();/drop(below);\nlet (head, len) = magazine.into_chain();\nself.replace(top, unsafe { Magazine::from_chain(head, len) });\nlet magazine = unsafe { Magazine::from_chain(head, len) };/'
mistake 'a magazine goes on a pile behind the lock of another class' src/heap/depots.rs \
    's/let put = heap.put(class, magazine, stock);/drop(heap);\nlet mut heap = self.lock(home, SizeClass::all().next().unwrap());\nlet put = heap.put(class, magazine, stock);/'
mistake 'pools are given to arenas with the lock of their class held' src/heap.rs \
    's/drop(heap);\n        self.arenas.give_pools(empty);/self.arenas.give_pools(empty);\ndrop(heap);/'
mistake 'a new arena is linked twice' src/arena.rs \
    's/            lists.insert_new(\([^;]*\));\n/lists.insert_new(\1);\nlists.insert_mapped(\1);\n/'
mistake 'an arena is linked before its memory is purged' src/arena.rs \
    's/\(            purged_bytes += self.purge_empty(arena);\n\)/self.lists.lock().take_back(arena);\n\1/;s/            self.lists.lock().take_back(arena);\n//'
mistake 'pools are purged that nobody has claimed' src/arena/claims.rs \
    's/        self.set_free(arena, arena.header().free.get() & !claim.pools);\n//'
mistake 'claimed pools come back before they are purged' src/arena.rs \
    's/\(                let goes = claim.purge_runs\)/self.lists.lock().settle(claim, true, now);\n\1/;s/                going += usize::from(self.lists.lock().settle(claim, goes, now));\n//'
mistake 'a request does not wait for what is in transit' src/arena.rs \
    's/None if is_awaited => backoff.wait()/None if false => backoff.wait()/'
mistake 'an arena that is not released yet does not count' src/arena/transit.rs \
    's/self.mapping + self.leaving/self.mapping/'
mistake 'a fork does not wait for what is in transit' src/arena/transit.rs \
    's/while !self.lists.lock().transit.is_over()/while false/'
mistake 'a fork waits, and others begin' src/arena/transit.rs \
    's/        self.lists.lock().transit.halt();\n//'
mistake 'blocks go back under the lock of another shard' src/heap.rs \
    's/let mut heap = self.lock(shard, class);\n        for run in/let mut heap = self.lock(Shard::FIRST, class);\nfor run in/'
mistake 'a pool is linked in another shard than its own' src/heap.rs \
    's/pool.init(shard, class, zeroed)/pool.init(Shard::FIRST, class, zeroed)/'
mistake 'a fork leaves the lock of the arenas open' src/heap/standstill.rs \
    's/        self.arenas.lock_for_fork();\n//'
mistake 'the class of a pool is noted after its first blocks are out' src/heap.rs \
    's/\(        self.arenas.map().set(pool.address(), class);\n\)\(.*used.push(pool);\n        }\n\)/\2drop(heap);\n\1/;s/        self.learn_swing(class, &mut heap, range.len() as u32);\n//'
mistake 'the class of a pool is cleared after its arena has the pool' src/arena.rs \
    's/        let mut lists = self.lists.lock();\n        while let Some(pool) = pools.pop() {\(.*\)            self.map.clear(address);\n            going += usize::from(lists.give_pool(pool, now));\n        }\n/        while let Some(pool) = pools.pop() {\1going += usize::from(self.lists.lock().give_pool(pool, now));\nself.map.clear(address);\n}\nlet mut lists = self.lists.lock();\n/'
mistake 'a survey does not keep the classes as they were' src/heap/standstill.rs \
    's/self.lock_shards(shards, |class, blocks| surveyor.see_depot(class, blocks));/for (heap, class) in self.shards.iter().take(shards).flat_map(|shard| shard.iter().zip(SizeClass::all())) { surveyor.see_depot(class, heap.lock().depot.blocks()); }/;s/\(        self.arenas.survey(surveyor);\n\)[^\n]*SAFETY[^\n]*\n[^\n]*unlock_shards[^\n]*\n/\1/'
mistake 'a new pool is made one of a class without the lock' src/heap.rs \
    's/        let mut heap = self.lock(shard, class);\n\(        pool.init(shard, class, zeroed);\n        self.arenas.map().set(pool.address(), class);\n        let range = pool.carve(class, most);\n\)/\1let mut heap = self.lock(shard, class);\n/'

mistake 'a magazine of large blocks leaves the depot of another class' src/large.rs \
    's/self.used_from(shard).find_map(|shard| shard.lock(class).pop())/self.used_from(shard).find_map(|shard| shard.lock(LargeClass::at(0)).pop())/'
mistake 'large blocks that leave stay counted' src/large.rs \
    's/        self.uncount(class, &magazine);\n        \/\/ SAFETY: the caller owes the blocks/        \/\/ SAFETY: the caller owes the blocks/'
mistake 'large blocks are given back and stay in their depot' src/large.rs \
    's/        Some(magazine)\n/        let (head, len) = magazine.into_chain();\nlet twice = unsafe { Magazine::from_chain(head, len) };\nself.count(class, \&twice);\nlet _ = self.shard(shard).lock(class).push(twice);\nSome(unsafe { Magazine::from_chain(head, len) })\n/'
mistake 'a fork leaves the depots of large blocks open' src/large.rs \
    's/flat_map(|shard| &shard.bases) {\n            base.lock_and/flat_map(|shard| \&shard.bases[1..]) {\n            base.lock_and/'

mistake 'what another thread has asked for waits for a thread' src/heap/parked.rs \
    's/let Some(known) = known() else { return false };/let known = known().unwrap_or(0);/'
mistake 'a thread looks for requests before it locks the place where it leaves what it held' src/heap/parked.rs \
    's/\(let mut parked = [^\n]*lock();\n        if parked.classes != 0 {\n            return false;\n        }\)\n        let Some(known) = known()/let known = known();\n\1\nlet Some(known) = known/'
mistake 'a thread takes over what was asked for before it began, and keeps it' src/trim.rs \
    's/        self.known.set(known);\n//;s/take_over(&self, known: usize)/take_over(\&self, _known: usize)/'
mistake 'a fork leaves the lock of what waits open' src/heap/standstill.rs \
    's/        for parked in self.parked.iter().take(shards) {\n            parked.lock_and_leave_closed/        for parked in self.parked.iter().take(0) {\nparked.lock_and_leave_closed/'
mistake 'what waits in a shard is given to a thread and stays' src/heap/parked.rs \
    's/core::mem::replace(held, Held::NONE)/unsafe { core::ptr::read(held) }/;s/        self.classes &= self.classes - 1;\n//;s/while let Some((class, held)) = parked.take() {/if let Some((class, held)) = parked.take() {/'

mistake 'a trim request is not counted' src/trim.rs \
    's/fetch_add(1,/fetch_add(0,/'
mistake 'a thread knows of a trim request and does not follow it' src/trim.rs \
    's/self.known.replace(count) != count/self.known.replace(count) != count \&\& false/'
mistake 'a thread forgets which trim request it has followed' src/trim.rs \
    's/self.known.replace(count)/self.known.get()/'
mistake 'a thread that asks for a trim follows its own request' src/trim.rs \
    's/        asking.known.set(earlier.wrapping_add(1));/let _ = (asking, earlier);/'
mistake 'virgin blocks that wait for a thread are not given back' src/heap/parked.rs \
    's/unsafe { self.give_back_fresh(class, held.fresh) };/drop(held.fresh);/'
mistake 'a thread keeps its virgin blocks when it gives back the rest' src/cache.rs \
    's/unsafe { heap.give_back_fresh(class, held.fresh) };/drop(held.fresh);/'
mistake 'a thread keeps what it is refilled with after its end' src/cache.rs \
    's/            self.flush_class(heap, class);\n        }\n    }\n\n/        }\n    }\n\n/'
mistake 'a thread keeps what it frees after its end' src/cache.rs \
    's/        if self.keeping.get() != Keeping::UntilExit {\n            \/\/ SAFETY: the caller owes the block, and where it came from.\n[^\n]*\n        }\n//'
mistake 'a thread that ends leaves its spare magazine' src/cache.rs \
    's/for magazine in \[held.spare, held.loaded\]/drop(held.spare);\nfor magazine in [held.loaded]/'

rm -rf "$copy"
echo "loom: $seen mistakes found, $missed missed"
[ "$missed" = 0 ]
