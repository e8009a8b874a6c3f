use super::*;

const LARGE: isize = 10 * SURPLUS_BYTES_MIN as isize;

/// Looks until one finds a surplus, at most a hundred.
fn looks_until_surplus(demand: &Demand) -> Option<usize> {
    (1..=100).find(|_| demand.has_surplus())
}

#[test]
fn what_was_in_use_once_and_is_not_again_is_a_surplus_once() {
    let demand = Demand::new();
    demand.changes(LARGE);
    assert_eq!(looks_until_surplus(&demand), None, "all is in use");
    demand.changes(-LARGE + 1000);
    // At the first look after it the spike was still there.
    assert_eq!(looks_until_surplus(&demand), Some(SURPLUS_LOOKS + 1));
    assert_eq!(looks_until_surplus(&demand), None, "the rest has gone back");
}

#[test]
fn the_beginning_is_told_of_once_and_not_before_there_is_something() {
    let demand = Demand::new();
    assert!(!demand.take_beginning(), "nothing is in use");
    demand.changes(1);
    assert!(demand.take_beginning());
    demand.changes(LARGE);
    assert!(!demand.take_beginning(), "it has been told of");
}

#[test]
fn what_comes_and_goes_between_two_looks_is_seen() {
    let demand = Demand::new();
    demand.changes(LARGE);
    demand.changes(-LARGE);
    assert_eq!(looks_until_surplus(&demand), Some(SURPLUS_LOOKS + 1));
}

#[test]
fn what_is_used_again_in_time_is_no_surplus() {
    let demand = Demand::new();
    for _ in 0..100 {
        demand.changes(LARGE);
        demand.changes(-LARGE);
        for _ in 0..SURPLUS_LOOKS {
            assert!(!demand.has_surplus());
        }
    }
}

#[test]
fn little_of_much_is_no_surplus() {
    let demand = Demand::new();
    demand.changes(LARGE);
    demand.changes(1 - SURPLUS_BYTES_MIN as isize);
    assert_eq!(looks_until_surplus(&demand), None);
    demand.changes(-1 - LARGE / SURPLUS_PER_DEMAND as isize);
    assert!(looks_until_surplus(&demand).is_some());
}

#[test]
fn a_thread_that_tells_of_less_before_another_tells_of_more_does_no_harm() {
    let demand = Demand::new();
    demand.changes(-1000);
    assert_eq!(looks_until_surplus(&demand), None);
    demand.changes(1000);
    demand.changes(LARGE);
    demand.changes(-LARGE);
    assert_eq!(looks_until_surplus(&demand), Some(SURPLUS_LOOKS + 1));
}
