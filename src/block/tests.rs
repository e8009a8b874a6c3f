use proptest::strategy::Strategy as _;

use super::*;

/// A magazine of the places with these indices, the first of them in front.
fn magazine(places: &mut [[usize; 2]], order: &[usize]) -> Magazine {
    let mut magazine = Magazine::EMPTY;
    for index in order.iter().rev() {
        // By a pointer that is valid for all of them.
        let place = NonNull::from(&mut *places).cast::<[usize; 2]>();
        assert!(*index < places.len());
        // SAFETY: one of the places.
        let place = unsafe { place.add(*index) };
        // SAFETY: tests push places of their own, each once.
        unsafe { magazine.push(place.cast()) };
    }
    magazine
}

/// The indices of a magazine's blocks, from the front.
fn order(places: &[[usize; 2]], mut magazine: Magazine) -> Vec<usize> {
    let index = |block| (address_of(block) - places.as_ptr().addr()) / size_of::<[usize; 2]>();
    core::iter::from_fn(|| magazine.pop()).map(index).collect()
}

#[test]
fn blocks_are_popped_from_the_front() {
    let mut places = vec![[0; 2]; 4];
    let magazine = magazine(&mut places, &[2, 0, 3]);
    assert_eq!(order(&places, magazine), [2, 0, 3]);
}

/// Places between two blocks that are sorted.
const PLACES_PER_STEP: usize = SORTED_STEP_BYTES / size_of::<[usize; 2]>();

/// Large blocks that lie side by side in two ranges and a half.
const SORTED_PLACES: usize = SORTED_RANGE_BYTES / SORTED_STEP_BYTES * 5 / 2;

/// Blocks so many steps from each other are not near; an odd number, so that every digit comes.
const APART: usize = NEAR_BYTES / SORTED_STEP_BYTES + 1;

/// The addresses of large blocks that were in this order, before and after they are sorted.
fn sorted(order_of_blocks: &[usize]) -> [Vec<usize>; 2] {
    let mut places = vec![[0; 2]; SORTED_PLACES * PLACES_PER_STEP];
    let start = places.as_ptr().addr();
    let indices: Vec<usize> = order_of_blocks.iter().map(|index| index * PLACES_PER_STEP).collect();
    let magazine = magazine(&mut places, &indices).sorted();
    assert_eq!(magazine.len() as usize, order_of_blocks.len());
    let addresses = |indices: Vec<usize>| {
        indices.iter().map(|index| start + index * size_of::<[usize; 2]>()).collect()
    };
    [addresses(indices), addresses(order(&places, magazine))]
}

/// Where in its range a block lies.
fn step_in_range(address: &usize) -> usize {
    address % SORTED_RANGE_BYTES / SORTED_STEP_BYTES
}

#[test]
fn what_lies_apart_is_sorted_both_ways() {
    let blocks_per_range = SORTED_RANGE_BYTES / SORTED_STEP_BYTES;
    // By the two lowest digits, and over the whole range, where the highest one tells them from each other.
    for (len, step) in
        [(1, 1), (2, APART), (3, APART), (31, APART), (64, 16), (64, 512), (1024, 32)]
    {
        assert!(len * step <= blocks_per_range);
        let ascending: Vec<usize> = (0..len).map(|index| index * step).collect();
        let descending: Vec<usize> = ascending.iter().rev().copied().collect();
        for order in [ascending, descending] {
            let [mut expected, sorted] = sorted(&order);
            expected.sort_unstable_by_key(step_in_range);
            assert_eq!(sorted, expected);
        }
    }
}

#[test]
fn what_lies_in_runs_stays_as_it_is() {
    let run = 4000..4005;
    let (up, down) = (run.clone().collect::<Vec<_>>(), run.rev().collect::<Vec<_>>());
    let spaced = (0..100).step_by(4).collect();
    for order in [vec![], up.clone(), down.clone(), spaced, [down, vec![1, 2, 3, 4, 5, 6]].concat()]
    {
        let [before, sorted] = sorted(&order);
        assert_eq!(sorted, before);
    }
    // One jump in four blocks is no order.
    let [before, sorted] = sorted(&[up, vec![900, 901, 1]].concat());
    assert_ne!(sorted, before);
}

proptest::proptest! {
    #[test]
    fn blocks_in_any_order_are_sorted_by_their_place_in_a_range_and_stay_in_order_where_that_is_one(
        // So far apart that no two are near: else a few of them could be in runs, and stay.
        order in proptest::collection::btree_set(0..SORTED_PLACES / APART, 0..600)
            .prop_map(|blocks| blocks.into_iter().map(|block| block * APART).collect::<Vec<usize>>())
            .prop_shuffle()
    ) {
        let [mut expected, sorted] = sorted(&order);
        expected.sort_by_key(step_in_range);
        proptest::prop_assert_eq!(sorted, expected);
    }
}

/// Places that lie side by side from the start of a range on.
#[derive(Clone, Copy)]
#[repr(align(4096))]
struct AlignedPlaces([[usize; 2]; 256]);

/// The runs of a magazine of these places, in which `places_per_range` that lie side by side belong together.
fn runs(order_of_blocks: &[usize], places_per_range: usize) -> Vec<Vec<usize>> {
    let mut aligned = [AlignedPlaces([[0; 2]; 256])];
    let places = &mut aligned[0].0;
    let start = places.as_ptr().addr();
    let index = |block| (address_of(block) - start) / size_of::<[usize; 2]>();
    let mut magazine = magazine(places, order_of_blocks);
    let range_bytes = places_per_range * size_of::<[usize; 2]>();
    let mut runs = Vec::new();
    // SAFETY: all places are in one array, and their pointers valid for all of it.
    while let Some(run) = unsafe { magazine.pop_run(range_bytes) } {
        let len = run.len() as usize;
        let last = index(run.last());
        let blocks = order(places, run.into_magazine());
        assert_eq!((blocks.len(), blocks.last()), (len, Some(&last)), "{order_of_blocks:?}");
        runs.push(blocks);
    }
    assert!(magazine.is_empty());
    runs
}

/// As [`runs`], by another way.
fn expected_runs(order_of_blocks: &[usize], places_per_range: usize) -> Vec<Vec<usize>> {
    let range = |index: usize| index / places_per_range;
    let runs = order_of_blocks.chunk_by(|one, next| range(*one) == range(*next));
    runs.map(<[usize]>::to_vec).collect()
}

#[test]
fn every_order_of_a_few_blocks_is_cut_into_runs() {
    fn permute(chosen: &mut Vec<usize>, left: &mut Vec<usize>) {
        for places_per_range in [1, 2, 4] {
            assert_eq!(runs(chosen, places_per_range), expected_runs(chosen, places_per_range));
        }
        for at in 0..left.len() {
            chosen.push(left.remove(at));
            permute(chosen, left);
            left.insert(at, chosen.pop().expect("just pushed"));
        }
    }
    permute(&mut Vec::new(), &mut (0..6).collect());
}

#[test]
fn blocks_at_equal_distances_are_cut_at_the_ends_of_their_ranges() {
    for stride in [1, 2, 3, 50] {
        let forwards: Vec<usize> = (0..200).step_by(stride).collect();
        let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
        for places_per_range in [1, 16, 64, 256] {
            for blocks in [&forwards, &backwards] {
                let expected = expected_runs(blocks, places_per_range);
                assert_eq!(runs(blocks, places_per_range), expected);
            }
        }
    }
}
