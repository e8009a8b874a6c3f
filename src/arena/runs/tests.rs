use super::*;
use crate::os::testing::TestPages;

/// An arena's address, in a row that goes on beyond the border of a leaf of the map.
fn at(number: usize) -> usize {
    (1 << 30) + number * ARENA_BYTES - 4 * ARENA_BYTES
}

/// A map that covers `count` arenas in a row, and one far away, which lies in the map itself.
fn covering(count: usize, pages: &TestPages) -> PoolMap {
    let map = PoolMap::new();
    assert!(map.cover(1 << 40, &pages));
    assert!((0..count).all(|number| map.cover(at(number), &pages)));
    map
}

#[test]
fn runs_are_counted_as_arenas_join_and_leave_in_any_order() {
    const COUNT: usize = 8;
    let pages = TestPages::default();
    let map = covering(COUNT, &pages);
    let mut runs = Runs::NONE;
    let mut mapped = [false; COUNT];
    let count = |mapped: &[bool; COUNT]| {
        mapped
            .iter()
            .zip([false].iter().chain(mapped))
            .filter(|(now, before)| **now && !**before)
            .count()
    };
    let mut seed = 1_usize;
    for _ in 0..10_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = seed >> 33 & (COUNT - 1);
        if mapped[number] {
            assert!(runs.leave(&map, at(number), false));
        } else {
            runs.join(&map, at(number));
        }
        mapped[number] = !mapped[number];
        assert_eq!(runs.count, count(&mapped), "{mapped:?}");
        assert_eq!(map.class_at(at(number)), None, "an arena's mark is taken for a class");
        assert_eq!(map.place_at(at(number)), None);
    }
}

#[test]
fn no_run_is_split_where_there_are_many() {
    let pages = TestPages::default();
    let map = covering(8, &pages);
    let mut runs = Runs { fewer: ARENA_RUNS_MAX - 2, ..Runs::NONE };
    (0..8).for_each(|number| runs.join(&map, at(number)));
    assert!(runs.leave(&map, at(2), false), "there may be two");
    assert!(!runs.leave(&map, at(5), false), "and not three");
    assert!(map.is_mapped(at(5)) && !map.is_mapped(at(2)));
    assert!(runs.leave(&map, at(5), true), "but where it must be");
    runs.join(&map, at(5));
    // What is at an end goes, however many there are.
    for number in [1, 3, 7, 0] {
        assert!(runs.leave(&map, at(number), false));
    }
    // That was a whole run: now there may be another.
    assert_eq!(runs.count, 1);
    assert!(runs.leave(&map, at(5), false));
    assert!([4, 6].iter().all(|number| runs.leave(&map, at(*number), false)));
    assert_eq!(runs.count, 0);
}
