use core::cell::{Cell, RefCell};
use core::ptr::NonNull;

use super::*;

/// Depots by the bytes of the magazines in them, which a stock counts.
struct Depots<'a> {
    stock: &'a Stock,
    magazines: RefCell<Vec<Vec<usize>>>,
}

impl<'a> Depots<'a> {
    fn new(stock: &'a Stock, magazines: Vec<Vec<usize>>) -> Self {
        magazines.iter().flatten().for_each(|bytes| stock.comes(*bytes));
        Self { stock, magazines: RefCell::new(magazines) }
    }

    fn evict(&self, index: usize) -> bool {
        let mut magazines = self.magazines.borrow_mut();
        let classes = magazines.len();
        let evicted = magazines[index % classes].pop();
        evicted.inspect(|bytes| self.stock.leaves(*bytes)).is_some()
    }
}

#[test]
fn what_fits_stays() {
    let stock = Stock::new();
    let depots = Depots::new(&stock, vec![vec![10], vec![20]]);
    stock.evict_beyond(30, |index| depots.evict(index));
    assert_eq!(stock.bytes(), 30);
}

#[test]
fn classes_lose_in_turn_until_the_rest_fits() {
    let stock = Stock::new();
    let depots = Depots::new(&stock, vec![vec![10, 10], vec![], vec![10, 10], vec![10]]);
    stock.evict_beyond(20, |index| depots.evict(index));
    assert_eq!(*depots.magazines.borrow(), [vec![10], vec![], vec![10], vec![]]);
    // The turn goes on where it was.
    stock.evict_beyond(10, |index| depots.evict(index));
    assert_eq!(*depots.magazines.borrow(), [vec![], vec![], vec![10], vec![]]);
}

#[test]
fn one_call_evicts_few_and_looks_at_each_class_once() {
    let stock = Stock::new();
    let depots = Depots::new(&stock, vec![vec![1; 100]]);
    stock.evict_beyond(0, |index| depots.evict(index));
    assert_eq!(stock.bytes(), 100 - EVICTIONS_MAX);
    let looks = Cell::new(0);
    stock.evict_beyond(0, |_| {
        looks.set(looks.get() + 1);
        false
    });
    assert_eq!(looks.get(), EVICTION_LOOKS_MAX);
}

#[test]
fn few_have_a_place_where_the_depots_are_full() {
    let stock = Stock::new();
    stock.comes(30);
    assert!((0..100).all(|_| stock.finds_place(30)));
    stock.comes(1);
    let placed: Vec<bool> = (0..100 * COME_PER_PLACE).map(|_| stock.finds_place(30)).collect();
    let count = |placed: &[bool]| placed.iter().filter(|placed| **placed).count();
    assert!((99..=101).contains(&count(&placed)), "{}", count(&placed));
    // Nor do classes that come in turn find all of them, or none.
    for class in 0..COME_PER_PLACE {
        let of_class: Vec<bool> =
            placed.iter().skip(class).step_by(COME_PER_PLACE).copied().collect();
        assert!((5..=20).contains(&count(&of_class)), "{}", count(&of_class));
    }
}

/// A magazine of so many blocks that are only counted.
fn magazine_of(blocks: u32) -> Magazine {
    // SAFETY: none of its blocks is taken, and nobody walks it.
    unsafe { Magazine::from_chain(Some(NonNull::dangling()), blocks) }
}

#[test]
fn a_depot_holds_as_many_magazines_as_it_may_and_gives_the_last_first() {
    const MAGAZINES: usize = 3 * SHELF_MAGAZINES;
    let shelves: Shelves<2, { shelves_above_base(MAGAZINES) }> = Shelves::new();
    let mut bases = [const { DepotBase::EMPTY }; 2];
    let [left, right] = &mut bases;
    // SAFETY: of this thread alone, and each with a place of its own.
    let mut left = unsafe { shelves.depot(0, left) };
    // SAFETY: as above.
    let mut right = unsafe { shelves.depot(1, right) };
    for blocks in 1..=MAGAZINES as u32 {
        assert!(left.push(magazine_of(blocks)).is_none());
        assert!(right.push(magazine_of(100 + blocks)).is_none());
    }
    assert_eq!(left.push(magazine_of(50)).map(|refused| refused.len()), Some(50));
    assert_eq!(left.base.blocks(), (1..=MAGAZINES).sum::<usize>());
    for blocks in (1..=MAGAZINES as u32).rev() {
        assert_eq!(left.pop().map(|magazine| magazine.len()), Some(blocks));
        assert_eq!(right.pop().map(|magazine| magazine.len()), Some(100 + blocks));
    }
    assert!(left.pop().is_none() && right.pop().is_none());
    assert_eq!(left.base.blocks(), 0);
}

/// Blocks of two words, for a magazine each.
fn magazine_in(places: &mut [[usize; 2]]) -> Magazine {
    let mut magazine = Magazine::EMPTY;
    for place in places {
        // SAFETY: a place of the test's own, which nothing else is done with.
        unsafe { magazine.push(NonNull::from(place).cast()) };
    }
    magazine
}

#[test]
fn a_pile_gives_the_last_first_and_then_what_it_lies_on() {
    for in_places in 0..3 {
        let shelves: Shelves<1, { shelves_above_base(2 * SHELF_MAGAZINES) }> = Shelves::new();
        let mut base = DepotBase::EMPTY;
        // SAFETY: of this thread alone.
        let mut depot = unsafe { shelves.depot(0, &mut base) };
        let mut places = [[[0; 2]; 9]; 6];
        let mut magazines: Vec<Magazine> = (places.iter_mut().enumerate())
            .map(|(number, places)| magazine_in(&mut places[..=number]))
            .collect();
        magazines.reverse();
        for _ in 0..in_places {
            assert!(depot.push(magazines.pop().expect("six")).is_none());
        }
        while let Some(magazine) = magazines.pop() {
            // SAFETY: blocks of two words.
            assert!(unsafe { depot.pile(magazine) }.is_none());
        }
        assert!(depot.is_valid());
        assert_eq!((depot.len(), depot.base.blocks()), (in_places, 1 + 2 + 3 + 4 + 5 + 6));
        assert!(depot.push(magazine_of(1)).is_some(), "a place below a pile");
        assert!(depot.pop_unused().is_none());
        for blocks in (1..=6).rev() {
            let magazine = depot.pop().expect("six");
            assert_eq!(magazine.len(), blocks);
            assert!(magazine.is_valid());
        }
        assert!(depot.pop().is_none());
        assert_eq!((depot.base.blocks(), depot.base.piled()), (0, 0));
    }
}

#[test]
fn what_has_no_block_or_cannot_be_covered_is_no_part_of_a_pile() {
    let shelves: Shelves<1, { shelves_above_base(2 * SHELF_MAGAZINES) }> = Shelves::new();
    let mut base = DepotBase::EMPTY;
    // SAFETY: of this thread alone.
    let mut depot = unsafe { shelves.depot(0, &mut base) };
    // SAFETY: without blocks.
    assert!(unsafe { depot.pile(Magazine::EMPTY) }.is_some());
    // More blocks than a cover notes; they are only counted.
    assert!(depot.push(magazine_of(1 << 16)).is_none());
    let mut places = [[0; 2]; 3];
    // SAFETY: blocks of two words.
    let refused = unsafe { depot.pile(magazine_in(&mut places)) };
    assert_eq!(refused.map(|magazine| magazine.len()), Some(3));
    assert_eq!(depot.pop().map(|magazine| magazine.len()), Some(1 << 16));
}
