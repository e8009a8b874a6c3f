use super::*;

/// Places for blocks.
fn places() -> Vec<[usize; 2]> {
    vec![[0; 2]; 8]
}

fn block(places: &mut [[usize; 2]], index: usize) -> NonNull<u8> {
    NonNull::from(&mut places[index]).cast()
}

fn push(bin: &Bin, block: NonNull<u8>) -> bool {
    // SAFETY: tests push places of their own, each once.
    unsafe { bin.push(block) }
}

#[test]
fn a_bin_of_zeros_gives_nothing_and_takes_nothing() {
    let bin = Bin::new();
    let mut places = places();
    assert_eq!(bin.pop(), None);
    assert!(!push(&bin, block(&mut places, 0)));
    bin.refuse_push();
    assert_eq!((bin.capacity(), bin.len()), (0, 0));
    assert!(bin.is_valid());
    assert!(bin.unload().is_empty());
}

#[test]
fn blocks_come_back_in_reverse_up_to_the_capacity() {
    let bin = Bin::new();
    let mut places = places();
    let blocks: Vec<_> = (0..4).map(|index| block(&mut places, index)).collect();
    bin.resize(3);
    assert!(blocks[..3].iter().all(|block| push(&bin, *block)));
    assert_eq!((bin.len(), bin.is_valid()), (3, true));
    assert!(!push(&bin, blocks[3]));
    bin.refuse_push();
    assert_eq!((bin.len(), bin.is_valid()), (3, true));
    let popped: Vec<_> = core::iter::from_fn(|| bin.pop()).collect();
    assert_eq!(popped, [blocks[2], blocks[1], blocks[0]]);
    assert_eq!((bin.len(), bin.is_valid()), (0, true));
}

#[test]
fn a_magazine_is_loaded_and_unloaded_whole() {
    let bin = Bin::new();
    let mut places = places();
    let mut magazine = Magazine::EMPTY;
    for index in 0..5 {
        // SAFETY: a place of this test, pushed once.
        unsafe { magazine.push(block(&mut places, index).cast()) };
    }
    bin.resize(2);
    bin.load(magazine);
    // It grows to hold what it is given.
    assert_eq!((bin.capacity(), bin.len(), bin.is_valid()), (5, 5, true));
    assert_eq!(bin.pop(), Some(block(&mut places, 4)));
    let unloaded = bin.unload();
    assert_eq!((unloaded.len(), unloaded.is_valid(), bin.len()), (4, true, 0));
    bin.load(unloaded);
    assert_eq!((bin.capacity(), bin.len(), bin.is_valid()), (5, 4, true));
}

#[test]
fn is_valid_sees_a_wrong_count() {
    let bin = Bin::new();
    let mut places = places();
    bin.resize(4);
    assert!((0..3).all(|index| push(&bin, block(&mut places, index))));
    for wrong in [-1, 1, 2, 4, 5] {
        let room = bin.room.replace(bin.capacity() - 3 + wrong);
        assert!(!bin.is_valid(), "{wrong} blocks fewer");
        bin.room.set(room);
        assert!(bin.is_valid());
    }
}

#[test]
fn is_valid_sees_less_room_than_none_with_a_chain_as_long_as_that_says() {
    let bin = Bin::new();
    let mut places = places();
    bin.resize(5);
    assert!((0..5).all(|index| push(&bin, block(&mut places, index))));
    bin.capacity.set(4);
    bin.room.set(-1);
    assert_eq!((bin.len(), bin.is_valid()), (5, false));
}

#[test]
fn a_magazine_in_a_cell_is_seen_and_stays() {
    let mut places = places();
    let mut magazine = Magazine::EMPTY;
    for index in 0..3 {
        // SAFETY: a place of this test, pushed once.
        unsafe { magazine.push(block(&mut places, index).cast()) };
    }
    let cell = Cell::new(magazine);
    assert_eq!([len_in(&cell), len_in(&cell)], [3, 3]);
    assert!(is_valid_in(&cell) && is_valid_in(&cell));
    let (head, _) = cell.replace(Magazine::EMPTY).into_chain();
    // SAFETY: none of its blocks is taken; it is only looked at.
    cell.set(unsafe { Magazine::from_chain(head, 4) });
    assert!(!is_valid_in(&cell));
    assert_eq!(len_in(&cell), 4);
}
