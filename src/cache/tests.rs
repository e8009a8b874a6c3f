mod consumers;
mod holdings;
mod parking;

use core::sync::atomic::Ordering;

use super::*;
use crate::config::{ARENA_BYTES, Config, ONE_WAY_FLUSHES, POOL_BYTES, SHARD_COUNT};
use crate::os::testing::TestPages;

/// What a thread is: a cache over a shared heap, driven as `thread` drives it.
struct Owner<'a> {
    cache: ThreadCache,
    heap: &'a Heap<&'a TestPages>,
}

impl<'a> Owner<'a> {
    fn new(heap: &'a Heap<&'a TestPages>) -> Self {
        Self::on_cores(heap, 1)
    }

    /// One of so many that join shards of their own.
    fn on_cores(heap: &'a Heap<&'a TestPages>, cores: usize) -> Self {
        let cache = ThreadCache::new();
        cache.keep_until_exit(heap, cores, Config::DEFAULT.cache_limits());
        Self { cache, heap }
    }

    fn alloc(&self, class: SizeClass) -> Option<NonNull<u8>> {
        self.cache.pop(class).or_else(|| self.cache.pop_reserve(class)).or_else(|| {
            let refilled = self.cache.refill(self.heap, class);
            let block = if refilled { self.cache.pop_reserve(class) } else { None };
            self.cache.flush_unless_keeping(self.heap, class);
            block
        })
    }

    fn alloc_many(&self, class: SizeClass, count: usize) -> Vec<NonNull<u8>> {
        (0..count).map(|_| self.alloc(class).expect("memory")).collect()
    }

    fn free(&self, class: SizeClass, block: NonNull<u8>) {
        // SAFETY: tests free what this heap gave for this class.
        if !unsafe { self.cache.push(block, class) } {
            // SAFETY: as above; it was not taken.
            unsafe { self.cache.push_full(self.heap, block, class) }
        }
    }

    fn is_valid(&self) -> bool {
        SizeClass::all().all(|class| self.cache.is_valid(class))
    }

    /// Blocks that a bin holds.
    fn loaded(&self, class: SizeClass) -> i32 {
        self.cache.bin(class).len()
    }
}

fn class_of(bytes: usize) -> SizeClass {
    SizeClass::all().find(|class| class.bytes() == bytes).expect("a class of this size")
}

/// Blocks of 32 bytes, neighbours of which lie in different pools then.
fn scattered(blocks: &[NonNull<u8>]) -> Vec<NonNull<u8>> {
    (0..128).flat_map(|first| blocks.iter().skip(first).step_by(128)).copied().collect()
}

fn assert_all_is_back(heap: &Heap<&TestPages>, pages: &TestPages) {
    heap.empty_depots();
    heap.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn blocks_freed_last_are_given_first() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    let class = class_of(40);
    let blocks = owner.alloc_many(class, 6);
    blocks.iter().for_each(|block| owner.free(class, *block));
    let again = owner.alloc_many(class, 6);
    assert!(again.iter().rev().eq(blocks.iter()));
    again.into_iter().for_each(|block| owner.free(class, block));
    owner.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn magazines_grow_from_few_blocks_to_the_useful_number() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    for (bytes, most) in [(8, 512), (32, 128), (64, 64), (256, 64), (512, 32)] {
        let class = class_of(bytes);
        let first = owner.alloc(class).expect("memory");
        assert_eq!(owner.cache.bin(class).capacity(), MAGAZINE_BLOCKS_FIRST);
        let blocks = owner.alloc_many(class, 2000);
        assert_eq!(owner.cache.bin(class).capacity(), most, "blocks of {bytes} bytes");
        blocks.into_iter().chain([first]).for_each(|block| owner.free(class, block));
        assert!(owner.is_valid());
    }
    owner.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn around_a_boundary_the_heap_is_left_alone() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    let class = class_of(64);
    let mut held = owner.alloc_many(class, 5000);
    for _ in 0..2500 {
        owner.free(class, held.pop().expect("a block"));
    }
    // Wherever the magazines stand now, swings of up to one magazine stay in the thread cache: with
    // all locks closed, an exchange with the heap would wait for ever.
    let capacity = owner.cache.bin(class).capacity() as usize;
    let (swing, more) = (capacity / 2, owner.loaded(class) as usize);
    held.extend(owner.alloc_many(class, more));
    heap.lock_for_fork(SHARD_COUNT);
    for _ in 0..1000 {
        let swung = owner.alloc_many(class, swing);
        swung.into_iter().for_each(|block| owner.free(class, block));
    }
    // SAFETY: locked above, by this thread.
    unsafe { heap.unlock_after_fork(SHARD_COUNT) };
    held.into_iter().for_each(|block| owner.free(class, block));
    owner.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn a_one_way_phase_leaves_at_most_two_magazines_behind() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    let class = class_of(512);
    let most = Config::DEFAULT.cache_limits().magazine_blocks(class.bytes()) as usize;
    let held = owner.alloc_many(class, most * (4 + ONE_WAY_FLUSHES as usize));
    held.into_iter().for_each(|block| owner.free(class, block));
    let spare = owner.cache.reserve(class).spare.replace(Magazine::EMPTY);
    assert!(spare.len() as usize <= most && owner.loaded(class) as usize <= most);
    owner.cache.reserve(class).spare.set(spare);
    owner.cache.flush(&heap);
    // Without the call that empties depots: the phase itself did.
    heap.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn what_comes_back_in_no_order_shrinks_the_magazines_and_what_comes_in_order_does_not() {
    let class = class_of(32);
    for is_ordered in [true, false] {
        let pages = TestPages::default();
        let heap = Heap::new(&pages);
        let owner = Owner::new(&heap);
        let mut held = owner.alloc_many(class, 128 * (40 + ONE_WAY_FLUSHES as usize));
        let capacity = owner.cache.bin(class).capacity();
        assert_eq!(capacity, 128);
        if !is_ordered {
            held = scattered(&held);
        }
        held.into_iter().for_each(|block| owner.free(class, block));
        let expected = if is_ordered { capacity } else { UNORDERED_BLOCKS_LEAST };
        assert_eq!(owner.cache.bin(class).capacity(), expected);
        owner.cache.flush(&heap);
        assert_all_is_back(&heap, &pages);
    }
}

#[test]
fn of_blocks_of_another_shard_the_first_that_a_thread_frees_goes_home() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let (giver, taker) = (Owner::on_cores(&heap, 2), Owner::on_cores(&heap, 2));
    let class = class_of(8);
    let given = giver.alloc_many(class, 3);
    taker.free(class, given[0]);
    assert_eq!(taker.loaded(class), 0);
    let own = taker.alloc(class).expect("memory");
    assert!((own.addr().get() ^ given[0].addr().get()) >= POOL_BYTES, "not in its line either");
    // The next ones stay: most threads that free what others allocated do little else.
    taker.free(class, given[1]);
    assert_eq!(taker.alloc(class), Some(given[1]));
    for block in [own, given[1], given[2]] {
        taker.free(class, block);
    }
    giver.cache.flush(&heap);
    taker.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn a_cache_that_keeps_nothing_serves_and_holds_no_block() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    let class = class_of(24);
    let before = owner.alloc_many(class, 50);
    owner.cache.flush_for_good(&heap, || Some(0));
    let after = owner.alloc_many(class, 50);
    for block in before.into_iter().chain(after) {
        assert_eq!(owner.loaded(class), 0);
        owner.free(class, block);
    }
    let fresh = owner.cache.reserve(class).fresh.replace(FreshRange::EMPTY);
    assert!(fresh.pool().is_none() && owner.is_valid());
    assert_all_is_back(&heap, &pages);
}

#[test]
fn zeroed_blocks_read_as_zero_whatever_their_past() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    for class in SizeClass::all() {
        for _ in 0..2 {
            let mut blocks = Vec::new();
            for _ in 0..200 {
                // As a zeroed request finds its bin empty.
                let reserved = owner.cache.pop_reserve_zeroed(class);
                let block = reserved.or_else(|| {
                    assert!(owner.cache.refill(&heap, class));
                    owner.cache.pop_reserve_zeroed(class)
                });
                let block = block.expect("memory");
                // SAFETY: the block is this test's own and has so many bytes.
                let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr(), class.bytes()) };
                assert!(bytes.iter().all(|byte| *byte == 0));
                // SAFETY: as above.
                unsafe { block.write_bytes(0xFF, class.bytes()) };
                blocks.push(block);
                let loaded = owner.cache.bin(class).unload();
                // SAFETY: what the bin held came from this heap.
                unsafe { heap.give_back(class, loaded) };
            }
            blocks.into_iter().for_each(|block| owner.free(class, block));
            owner.cache.flush(&heap);
            heap.empty_depots();
        }
    }
    assert_all_is_back(&heap, &pages);
}

#[test]
fn without_memory_there_is_no_block_and_all_that_is_free_can_still_be_had() {
    let pages = TestPages::default();
    pages.most.store(2, Ordering::SeqCst);
    let heap = Heap::new(&pages);
    let owner = Owner::new(&heap);
    let class = class_of(512);
    let blocks: Vec<_> = core::iter::from_fn(|| owner.alloc(class)).collect();
    assert_eq!(blocks.len(), 2 * 63 * 8, "every pool of both arenas");
    assert!(owner.alloc(class_of(8)).is_none());
    blocks[..300].iter().for_each(|block| owner.free(class, *block));
    assert_eq!(core::iter::from_fn(|| owner.alloc(class)).count(), 300);
    assert_eq!(pages.mapped.load(Ordering::SeqCst) * ARENA_BYTES, 2 << 18);
}

#[test]
fn a_thread_that_may_keep_little_keeps_little() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let cache = ThreadCache::new();
    cache.keep_until_exit(&heap, 1, Config::DEFAULT.with_cache_bytes(0).cache_limits());
    let owner = Owner { cache, heap: &heap };
    for class in SizeClass::all() {
        let blocks = owner.alloc_many(class, 100);
        blocks.into_iter().for_each(|block| owner.free(class, block));
        assert!(owner.loaded(class) <= 1);
    }
    assert!(owner.is_valid());
    owner.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}
