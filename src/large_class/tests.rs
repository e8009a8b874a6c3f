use super::*;

fn class_of(size: usize) -> Option<LargeClass> {
    LargeClass::of(Layout::from_size_align(size, 1).expect("a possible layout"))
}

#[test]
fn every_size_has_the_smallest_class_that_holds_it() {
    let mut below = SMALL_MAX;
    for class in LargeClass::all() {
        for size in below + 1..=class.bytes() {
            assert_eq!(class_of(size), Some(class), "{size}");
        }
        below = class.bytes();
    }
    assert_eq!(below, LARGE_CACHED_MAX);
}

#[test]
fn other_sizes_have_none() {
    for size in [0, 1, 8, SMALL_MAX, LARGE_CACHED_MAX + 1, isize::MAX as usize] {
        assert_eq!(class_of(size), None, "{size}");
    }
}

#[test]
fn alignments_that_a_block_has_change_nothing_and_others_have_no_class() {
    for size in [513, 600, 4096, LARGE_CACHED_MAX] {
        for shift in 0..16 {
            let layout = Layout::from_size_align(size, 1 << shift).expect("a possible layout");
            let expected = class_of(size).filter(|_| 1 << shift <= LARGE_ALIGNMENT);
            assert_eq!(LargeClass::of(layout), expected, "{size} bytes aligned to {}", 1 << shift);
        }
    }
}

#[test]
fn classes_are_numbered_and_have_layouts() {
    for (index, class) in LargeClass::all().enumerate() {
        assert_eq!(class.index(), index);
        assert_eq!(LargeClass::at(index), class);
        assert_eq!(LargeClass::at(index + LARGE_CLASS_COUNT), class);
        assert_eq!(class.layout().size(), class.bytes());
        assert_eq!(class.layout().align(), LARGE_ALIGNMENT);
    }
    assert_eq!(LargeClass::all().count(), LARGE_CLASS_COUNT);
}

#[test]
fn less_than_a_ninth_is_lost_to_rounding() {
    for size in SMALL_MAX + 1..=LARGE_CACHED_MAX {
        let bytes = class_of(size).expect("a class").bytes();
        assert!((bytes - size) * 9 < bytes, "{size} in {bytes}");
    }
}
