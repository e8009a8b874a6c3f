use super::*;

/// A magazine of the places with these indices, the first of them in front.
fn magazine(places: &mut [[usize; 2]], order: &[usize]) -> Magazine {
    let mut magazine = Magazine::EMPTY;
    for index in order.iter().rev() {
        // SAFETY: tests push places of their own, each once.
        unsafe { magazine.push(NonNull::from(&mut places[*index]).cast()) };
    }
    magazine
}

/// The indices of a magazine's blocks, from the front.
fn order(places: &[[usize; 2]], mut magazine: Magazine) -> Vec<usize> {
    let index = |block| (address_of(block) - places.as_ptr().addr()) / size_of::<[usize; 2]>();
    core::iter::from_fn(|| magazine.pop()).map(index).collect()
}

fn assert_sorted(order_before: &[usize]) {
    let mut places = vec![[0; 2]; 1 + order_before.iter().max().copied().unwrap_or(0)];
    let sorted = magazine(&mut places, order_before).sorted();
    assert_eq!(sorted.len() as usize, order_before.len());
    assert!(sorted.is_valid(), "{order_before:?}");
    let mut expected = order_before.to_vec();
    expected.sort_unstable();
    assert_eq!(order(&places, sorted), expected, "{order_before:?}");
}

#[test]
fn blocks_are_popped_from_the_front() {
    let mut places = vec![[0; 2]; 4];
    let magazine = magazine(&mut places, &[2, 0, 3]);
    assert_eq!(order(&places, magazine), [2, 0, 3]);
}

#[test]
fn every_order_of_a_few_blocks_is_sorted() {
    fn permute(chosen: &mut Vec<usize>, left: &mut Vec<usize>) {
        assert_sorted(chosen);
        for at in 0..left.len() {
            chosen.push(left.remove(at));
            permute(chosen, left);
            left.insert(at, chosen.pop().expect("just pushed"));
        }
    }
    permute(&mut Vec::new(), &mut (0..6).collect());
}

#[test]
fn long_magazines_are_sorted() {
    for len in [64_usize, 511, 512, 5000] {
        assert_sorted(&(0..len).collect::<Vec<_>>());
        assert_sorted(&(0..len).rev().collect::<Vec<_>>());
        // A step that shares no factor with the length visits all places, in no order.
        let step = if len == 511 { 197 } else { 1237 };
        assert_sorted(&(0..len).map(|index| index * step % len).collect::<Vec<_>>());
        // Up and down in turn: as many runs as there can be.
        assert_sorted(
            &(0..len)
                .map(|index| if index % 2 == 0 { index } else { len * 2 - index })
                .collect::<Vec<_>>(),
        );
    }
}
