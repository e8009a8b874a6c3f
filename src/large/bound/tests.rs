use super::*;

fn class_at(index: usize) -> LargeClass {
    LargeClass::at(index)
}

/// A bound that has been raised by `bytes`, and what it was learnt from.
fn raised_by(bytes: usize) -> DepotBound {
    let (bound, class) = (DepotBound::new(), class_at(LARGE_CLASS_COUNT - 1));
    let blocks = bytes / class.bytes();
    bound.blocks_went(class, blocks as u32);
    (0..blocks).for_each(|_| bound.block_taken(class));
    assert_eq!(bound.bytes(), LARGE_DEPOT_BYTES_MIN + blocks * class.bytes());
    bound
}

fn look_in_turn(bound: &DepotBound, held: usize) {
    (0..LARGE_DEPOT_LOOKS).for_each(|_| bound.look(held));
}

#[test]
fn a_block_that_is_missed_raises_the_bound_by_its_bytes() {
    let (bound, class, other) = (DepotBound::new(), class_at(3), class_at(4));
    bound.block_taken(class);
    assert_eq!(bound.bytes(), LARGE_DEPOT_BYTES_MIN, "none has gone");
    bound.blocks_went(class, 2);
    bound.block_taken(other);
    assert_eq!(bound.bytes(), LARGE_DEPOT_BYTES_MIN, "none of its class has gone");
    for missed in [1, 2, 2] {
        bound.block_taken(class);
        assert_eq!(bound.bytes(), LARGE_DEPOT_BYTES_MIN + missed * class.bytes());
    }
    bound.blocks_went(class, 1);
    bound.forget();
    bound.block_taken(class);
    assert_eq!(bound.bytes(), LARGE_DEPOT_BYTES_MIN);
}

#[test]
fn it_has_a_maximum() {
    let (bound, class) = (DepotBound::new(), class_at(LARGE_CLASS_COUNT - 1));
    let blocks = 2 * LARGE_DEPOT_BYTES_MAX / class.bytes();
    bound.blocks_went(class, blocks as u32);
    (0..blocks).for_each(|_| bound.block_taken(class));
    assert!(bound.bytes() <= LARGE_DEPOT_BYTES_MAX);
    assert!(bound.bytes() + class.bytes() > LARGE_DEPOT_BYTES_MAX);
}

#[test]
fn what_was_held_at_all_looks_makes_it_fall() {
    let bound = raised_by(20 << 20);
    let first = bound.bytes();
    look_in_turn(&bound, 5 << 20);
    assert_eq!(bound.bytes(), first, "less was held at the beginning");
    bound.holding_is(3 << 20);
    bound.holding_is(6 << 20);
    look_in_turn(&bound, 5 << 20);
    assert_eq!(bound.bytes(), first - (3 << 20));
    // The looks may find less than what was held at any time between them.
    look_in_turn(&bound, 2 << 20);
    assert_eq!(bound.bytes(), first - (5 << 20));
    look_in_turn(&bound, usize::MAX);
    look_in_turn(&bound, usize::MAX);
    assert_eq!(bound.bytes(), LARGE_DEPOT_BYTES_MIN);
}

#[test]
fn one_look_alone_makes_it_fall_by_nothing() {
    let bound = raised_by(20 << 20);
    let first = bound.bytes();
    look_in_turn(&bound, 5 << 20);
    (1..LARGE_DEPOT_LOOKS).for_each(|_| bound.look(5 << 20));
    assert_eq!(bound.bytes(), first);
    bound.look(5 << 20);
    assert_eq!(bound.bytes(), first - (5 << 20));
}

#[test]
fn what_went_long_ago_is_not_missed() {
    let (bound, class) = (DepotBound::new(), class_at(7));
    bound.blocks_went(class, 4);
    (1..LARGE_DEPOT_LOOKS).for_each(|_| bound.look(0));
    bound.block_taken(class);
    let raised = bound.bytes();
    assert_eq!(raised, LARGE_DEPOT_BYTES_MIN + class.bytes());
    bound.look(0);
    bound.block_taken(class);
    assert_eq!(bound.bytes(), raised);
}
