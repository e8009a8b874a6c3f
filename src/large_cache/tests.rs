use core::sync::atomic::Ordering;

use super::*;
use crate::config::Config;
use crate::large::testing::TestSystem;

const BYTES_MAX: usize = 1 << 20;

/// What a thread is: a cache over shared depots, driven as `thread` drives it.
struct Owner<'a> {
    cache: LargeCache,
    heap: &'a LargeHeap<&'a TestSystem>,
}

impl<'a> Owner<'a> {
    fn new(heap: &'a LargeHeap<&'a TestSystem>, bytes_max: usize) -> Self {
        let cache = LargeCache::new();
        cache.keep_until_exit(bytes_max, Shard::FIRST);
        Self { cache, heap }
    }

    fn alloc(&self, class: LargeClass) -> Option<NonNull<u8>> {
        let cache = &self.cache;
        let reserve = || cache.pop_spare(class).or_else(|| cache.refill(self.heap, class));
        cache.pop(class).or_else(reserve).or_else(|| cache.take(self.heap, class))
    }

    fn alloc_many(&self, class: LargeClass, count: usize) -> Vec<NonNull<u8>> {
        (0..count).map(|_| self.alloc(class).expect("memory")).collect()
    }

    fn free(&self, class: LargeClass, block: NonNull<u8>) {
        // SAFETY: tests free what this heap gave for this class.
        if !unsafe { self.cache.push(block, class) } {
            // SAFETY: as above; it was not taken.
            unsafe { self.cache.push_full(self.heap, block, class) }
        }
    }

    fn free_all(&self, class: LargeClass, blocks: Vec<NonNull<u8>>) {
        blocks.into_iter().for_each(|block| self.free(class, block));
    }

    /// Bytes of free blocks in the cache.
    fn held(&self) -> usize {
        let held = |class: LargeClass| {
            let spare = self.cache.spare(class).replace(Magazine::EMPTY);
            let blocks = spare.len() as usize + self.cache.bin(class).len() as usize;
            self.cache.spare(class).set(spare);
            blocks * class.bytes()
        };
        LargeClass::all().map(held).sum()
    }
}

fn class_of(bytes: usize) -> LargeClass {
    LargeClass::all().find(|class| class.bytes() == bytes).expect("a class of this size")
}

fn assert_all_is_back(owner: &Owner, system: &TestSystem) {
    owner.cache.flush_for_good(owner.heap);
    owner.heap.empty_depots();
    assert_eq!(system.live_bytes(), 0);
}

#[test]
fn a_freed_block_is_given_next() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let owner = Owner::new(&heap, BYTES_MAX);
    for class in LargeClass::all() {
        let block = owner.alloc(class).expect("memory");
        owner.free(class, block);
        let taken = system.taken.load(Ordering::SeqCst);
        for _ in 0..100 {
            assert_eq!(owner.alloc(class), Some(block));
            owner.free(class, block);
        }
        assert_eq!(system.taken.load(Ordering::SeqCst), taken);
    }
    assert_all_is_back(&owner, &system);
}

#[test]
fn all_classes_together_hold_no_more_than_they_may() {
    for bytes_max in [0, 1000, 64 << 10, 100_000, BYTES_MAX] {
        let system = TestSystem::default();
        let heap = LargeHeap::new(&system);
        let owner = Owner::new(&heap, bytes_max);
        for round in 0..3 {
            for class in LargeClass::all() {
                let blocks = owner.alloc_many(class, 200);
                owner.free_all(class, blocks);
                assert!(owner.cache.is_valid(), "{bytes_max}");
                assert!(owner.held() <= bytes_max, "{} of {bytes_max}", owner.held());
            }
            let holds_some = owner.held() >= bytes_max / 4;
            assert!(
                round == 0 || bytes_max < 64 << 10 || holds_some,
                "{} of {bytes_max}",
                owner.held()
            );
        }
        assert_all_is_back(&owner, &system);
    }
}

#[test]
fn a_class_without_room_takes_anothers() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    // Two magazines of 32 KiB blocks, and no more.
    let owner = Owner::new(&heap, 128 << 10);
    let (first, second) = (class_of(32 << 10), class_of(16 << 10));
    for class in [first, second, first] {
        let blocks = owner.alloc_many(class, 20);
        owner.free_all(class, blocks);
        assert!(owner.cache.bin(class).capacity() > 0, "{} bytes", class.bytes());
        assert!(owner.cache.is_valid());
    }
    assert_all_is_back(&owner, &system);
}

#[test]
fn what_one_thread_frees_another_is_given() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let (producer, consumer) = (Owner::new(&heap, BYTES_MAX), Owner::new(&heap, BYTES_MAX));
    let class = class_of(4096);
    for _ in 0..200 {
        let blocks = producer.alloc_many(class, 32);
        consumer.free_all(class, blocks);
    }
    // Without depots each block would come from the system allocator.
    assert!(system.taken.load(Ordering::SeqCst) < 200);
    assert!(producer.cache.is_valid() && consumer.cache.is_valid());
    producer.cache.flush_for_good(&heap);
    assert_all_is_back(&consumer, &system);
}

#[test]
fn a_thread_that_only_frees_keeps_no_spare_magazine_until_it_asks_for_a_block() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let (producer, consumer) = (Owner::new(&heap, BYTES_MAX), Owner::new(&heap, BYTES_MAX));
    let (class, other) = (class_of(4096), class_of(2048));
    let has_spare = || cache_bin::len_in(consumer.cache.spare(class)) > 0;
    let block = consumer.alloc(other).expect("memory");
    for _ in 0..100 {
        consumer.free_all(class, producer.alloc_many(class, 7));
        assert!(consumer.cache.is_valid() && !has_spare());
    }
    assert_eq!(consumer.cache.bin(class).capacity(), 16);
    let loaded = consumer.cache.bin(class).len() as usize;
    consumer.free_all(class, consumer.alloc_many(class, loaded + 1));
    consumer.free_all(class, producer.alloc_many(class, 2 * 16));
    assert!(has_spare());
    consumer.free_all(other, vec![block]);
    producer.cache.flush_for_good(&heap);
    assert_all_is_back(&consumer, &system);
}

#[test]
fn after_its_end_a_thread_keeps_nothing() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let owner = Owner::new(&heap, BYTES_MAX);
    let class = class_of(2048);
    let blocks = owner.alloc_many(class, 100);
    owner.free_all(class, blocks);
    owner.cache.flush_for_good(&heap);
    heap.empty_depots();
    assert_eq!(system.live_bytes(), 0);
    let blocks = owner.alloc_many(class, 100);
    assert_eq!(system.live_bytes(), 100 * class.bytes());
    owner.free_all(class, blocks);
    assert_eq!(system.live_bytes(), 0);
}

#[test]
fn the_default_lets_every_class_have_full_magazines() {
    let owner = LargeCache::new();
    owner.keep_until_exit(Config::DEFAULT.cache_limits().large_bytes, Shard::FIRST);
    for (bytes, blocks) in [(576, 64), (1024, 64), (4096, 16), (8192, 8), (32768, 2)] {
        assert_eq!(owner.blocks_max(class_of(bytes)), blocks, "{bytes}");
    }
}

/// Classes of 1 to 16 KiB, whose full magazines have the same bytes.
fn classes_of_buffers() -> impl Iterator<Item = LargeClass> {
    LargeClass::all().filter(|class| (1024..=16384).contains(&class.bytes()))
}

#[test]
fn threads_between_which_blocks_go_one_way_need_room_for_loaded_magazines_alone() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let bytes_max = classes_of_buffers().count() * LARGE_MAGAZINE_BYTES;
    let (producer, consumer) = (Owner::new(&heap, bytes_max), Owner::new(&heap, bytes_max));
    for _ in 0..20 {
        for class in classes_of_buffers() {
            consumer.free_all(class, producer.alloc_many(class, 64));
        }
    }
    for owner in [&producer, &consumer] {
        assert!(owner.cache.is_valid());
        for class in classes_of_buffers() {
            let capacity = owner.cache.bin(class).capacity();
            assert_eq!(capacity, owner.cache.blocks_max(class), "{} bytes", class.bytes());
        }
    }
    producer.cache.flush_for_good(&heap);
    assert_all_is_back(&consumer, &system);
}

#[test]
fn where_no_room_is_left_a_full_magazine_goes_to_the_depot_and_no_class_loses_its_own() {
    let system = TestSystem::default();
    let heap = LargeHeap::new(&system);
    let (producer, consumer) =
        (Owner::new(&heap, BYTES_MAX), Owner::new(&heap, 2 * LARGE_MAGAZINE_BYTES));
    let classes = [class_of(4096), class_of(8192)];
    for _ in 0..20 {
        classes.into_iter().for_each(|class| {
            consumer.free_all(class, producer.alloc_many(class, 64));
        });
    }
    for class in classes {
        // Now it has asked for a block, and would keep a magazine to spare.
        let loaded = consumer.cache.bin(class).len() as usize;
        consumer.free_all(class, consumer.alloc_many(class, loaded + 1));
        consumer.free_all(class, producer.alloc_many(class, 64));
        assert_eq!(cache_bin::len_in(consumer.cache.spare(class)), 0);
        assert!(consumer.cache.is_valid());
    }
    for class in classes {
        assert_eq!(consumer.cache.bin(class).capacity(), consumer.cache.blocks_max(class));
    }
    producer.cache.flush_for_good(&heap);
    assert_all_is_back(&consumer, &system);
}
