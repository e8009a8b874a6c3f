use super::*;

const SWING: usize = 10 * HELD_BYTES_FIRST;

/// Rises to `high` and falls to `low`, in small steps, so many times.
fn swing(swings: &Swings, low: usize, high: usize, times: usize) {
    const STEPS: usize = 100;
    for _ in 0..times {
        let at = |step| low + (high - low) / STEPS * step;
        (0..=STEPS).for_each(|step| swings.moves_to(at(step)));
        (0..=STEPS).rev().for_each(|step| swings.moves_to(at(step)));
    }
}

#[test]
fn what_falls_and_rises_again_and_again_is_to_be_held() {
    let swings = Swings::new();
    // The first rise starts from nothing.
    swing(&swings, 0, SWING, SWINGS_PER_FIRST_HOLD);
    assert_eq!(swings.take_hold(), None);
    swing(&swings, 0, SWING, 1);
    let held = swings.take_hold().expect("enough swings");
    assert!((SWING..2 * SWING).contains(&held), "{held}");
    assert_eq!(swings.take_hold(), None, "once");
    swing(&swings, 0, SWING, 100);
    assert_eq!(swings.take_hold(), None, "it is held");
}

#[test]
fn where_some_is_held_one_larger_swing_is_enough_for_more() {
    let swings = Swings::new();
    swing(&swings, 0, SWING, SWINGS_PER_FIRST_HOLD + 1);
    let held = swings.take_hold().expect("enough swings");
    swing(&swings, 0, 2 * held, 1);
    assert_eq!(swings.take_hold(), None, "it rose from a lower top");
    swing(&swings, 0, 2 * held, 1);
    assert!(swings.take_hold().is_some_and(|more| more > held));
}

#[test]
fn what_the_library_holds_anyway_is_no_swing() {
    let swings = Swings::new();
    swings.moves_to(SWING);
    swing(&swings, SWING, SWING + HELD_BYTES_FIRST - 1, 100);
    assert_eq!(swings.take_hold(), None);
}

#[test]
fn a_spike_and_small_swings_after_it_are_not_a_large_one() {
    let swings = Swings::new();
    swing(&swings, 0, 100 * SWING, 1);
    swing(&swings, 0, SWING, SWINGS_PER_FIRST_HOLD);
    let held = swings.take_hold().expect("enough swings");
    assert!(held < 2 * SWING, "{held}");
}

#[test]
fn what_is_held_no_more_is_to_be_held_again() {
    let swings = Swings::new();
    assert!(!swings.end_hold(), "nothing is held");
    for _ in 0..2 {
        swing(&swings, 0, SWING, SWINGS_PER_FIRST_HOLD + 1);
        assert!(swings.take_hold().is_some());
        assert!(swings.end_hold());
    }
    assert!(!swings.end_hold(), "once");
}

#[test]
fn after_the_end_nothing_is_held() {
    let swings = Swings::new();
    swing(&swings, 0, SWING, SWINGS_PER_FIRST_HOLD + 1);
    swings.end();
    assert_eq!(swings.take_hold(), None);
    swing(&swings, 0, 2 * SWING, 10);
    assert_eq!(swings.take_hold(), None);
    assert!(!swings.end_hold());
}

#[test]
fn a_heap_that_only_grows_or_only_shrinks_does_not_swing() {
    let swings = Swings::new();
    (0..1000).for_each(|step| swings.moves_to(step * HELD_BYTES_FIRST));
    (0..1000).rev().for_each(|step| swings.moves_to(step * HELD_BYTES_FIRST));
    assert_eq!(swings.take_hold(), None);
}

#[test]
fn larger_swings_are_held_in_their_turn_up_to_a_bound() {
    let swings = Swings::new();
    let mut held = 0;
    for size in [SWING, 4 * SWING, 4 * HELD_BYTES_MAX, 8 * HELD_BYTES_MAX] {
        swing(&swings, 0, size, SWINGS_PER_FIRST_HOLD + 1);
        if let Some(more) = swings.take_hold() {
            assert!(more > held && more >= size.min(HELD_BYTES_MAX), "{size}: {more} after {held}");
            held = more;
        }
    }
    assert_eq!(held, HELD_BYTES_MAX);
}

#[test]
fn threads_that_find_the_same_turn_count_it_once() {
    let swings = Swings::new();
    swings.moves_to(SWING);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| swings.moves_to(0));
        }
    });
    swings.moves_to(SWING);
    swings.moves_to(0);
    assert_eq!(swings.count.load(Ordering::Relaxed), 1);
}
