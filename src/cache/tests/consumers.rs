//! A thread that only frees what another allocates.

use super::*;

#[test]
fn it_keeps_no_spare_magazine_until_it_asks_for_a_block() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let (producer, consumer) = (Owner::new(&heap), Owner::new(&heap));
    let (class, other) = (class_of(64), class_of(72));
    let has_spare = || cache_bin::len_in(&consumer.cache.reserve(class).spare) > 0;
    let consume = |count| {
        for block in producer.alloc_many(class, count) {
            consumer.free(class, block);
            assert!(consumer.is_valid());
        }
    };
    // Asked for another class, that is not asked for this one.
    let block = consumer.alloc(other).expect("memory");
    for _ in 0..100 {
        consume(17);
        assert!(!has_spare());
    }
    assert_eq!(consumer.cache.bin(class).capacity(), 64);
    assert!(consumer.cache.blocks(class) <= 64);
    let loaded = consumer.loaded(class) as usize;
    let held = consumer.alloc_many(class, loaded + 1);
    held.into_iter().for_each(|block| consumer.free(class, block));
    consume(2 * 64);
    assert!(has_spare());
    consumer.free(other, block);
    producer.cache.flush(&heap);
    consumer.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn to_ask_for_cleared_blocks_is_to_ask() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let (producer, consumer) = (Owner::new(&heap), Owner::new(&heap));
    let class = class_of(64);
    assert!(consumer.cache.refill(&heap, class));
    let block = consumer.cache.pop_reserve_zeroed(class).expect("a block");
    for block in producer.alloc_many(class, 64) {
        consumer.free(class, block);
    }
    assert!(cache_bin::len_in(&consumer.cache.reserve(class).spare) > 0);
    consumer.free(class, block);
    producer.cache.flush(&heap);
    consumer.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn what_it_has_taken_over_counts_as_asked_for() {
    let pages = TestPages::default();
    let heap = Heap::new(&pages);
    let (producer, first) = (Owner::new(&heap), Owner::new(&heap));
    let (class, other) = (class_of(64), class_of(72));
    let block = first.alloc(class).expect("memory");
    first.free(class, block);
    first.cache.flush_for_good(&heap, || Some(0));
    let consumer = Owner::new(&heap);
    for class in [class, other] {
        for block in producer.alloc_many(class, 64) {
            consumer.free(class, block);
        }
    }
    let has_spare = |class| cache_bin::len_in(&consumer.cache.reserve(class).spare) > 0;
    assert!(has_spare(class) && !has_spare(other));
    producer.cache.flush(&heap);
    consumer.cache.flush(&heap);
    assert_all_is_back(&heap, &pages);
}

#[test]
fn its_magazines_shrink_where_blocks_come_back_in_no_order() {
    let class = class_of(32);
    for is_ordered in [true, false] {
        let pages = TestPages::default();
        let heap = Heap::new(&pages);
        let (producer, consumer) = (Owner::new(&heap), Owner::new(&heap));
        let mut held = producer.alloc_many(class, 128 * (40 + ONE_WAY_FLUSHES as usize));
        if !is_ordered {
            held = scattered(&held);
        }
        held.into_iter().for_each(|block| consumer.free(class, block));
        assert_eq!(consumer.cache.bin(class).capacity() == 128, is_ordered);
        producer.cache.flush(&heap);
        consumer.cache.flush(&heap);
        assert_all_is_back(&heap, &pages);
    }
}
