use std::thread;

use super::*;
use crate::os::testing::TestPages;

#[test]
fn each_block_has_a_bit_of_its_own() {
    let pages = TestPages::default();
    let map = UseMap::new();
    // On both sides of a leaf's border.
    let border = 5 << Bits::BITS;
    assert!(map.cover(border - ARENA_BYTES, &&pages) && map.cover(border, &&pages));
    let blocks: Vec<usize> = (border - 64 * 1024..border + 64 * 1024).step_by(ALIGNMENT).collect();
    assert!(blocks.iter().all(|block| !map.is_set(*block) && !map.clear(*block)));
    for block in blocks.iter().step_by(3) {
        assert!(!map.set(*block));
        assert!(map.set(*block));
    }
    for (number, block) in blocks.iter().enumerate() {
        assert_eq!(map.is_set(*block), number % 3 == 0, "{block:#x}");
    }
    assert!(blocks.iter().step_by(3).all(|block| map.clear(*block)));
    assert!(blocks.iter().all(|block| !map.is_set(*block) && !map.clear(*block)));
}

#[test]
fn an_arena_that_there_is_no_memory_for_is_not_covered() {
    let pages = TestPages::default();
    let map = UseMap::new();
    pages.refuses_tables.store(true, Ordering::SeqCst);
    assert!(!map.cover(ARENA_BYTES, &&pages));
    assert!(!map.set(ARENA_BYTES) && !map.is_set(ARENA_BYTES));
}

#[test]
fn of_threads_that_free_a_block_at_once_one_had_it() {
    let pages = TestPages::default();
    let map = UseMap::new();
    assert!(map.cover(0, &&pages));
    for block in (0..1000).map(|number| number * ALIGNMENT) {
        assert!(!map.set(block));
    }
    let had: usize = thread::scope(|scope| {
        let frees = || (0..1000).filter(|number| map.clear(number * ALIGNMENT)).count();
        let threads = [scope.spawn(frees), scope.spawn(frees)];
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(had, 1000);
}
