use super::*;

const ALIGNMENTS: [usize; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}

/// The definition, spelled out: the smallest class that is large enough and keeps the alignment.
fn expected(size: usize, align: usize) -> Option<usize> {
    (1..=64)
        .map(|number| number * 8)
        .find(|bytes| size > 0 && *bytes >= size && bytes % align.max(8) == 0 && align <= 512)
}

#[test]
fn every_small_layout_gets_the_smallest_class_that_fits() {
    for size in 0..=4096 {
        for align in ALIGNMENTS {
            let bytes = SizeClass::of(layout(size, align)).map(SizeClass::bytes);
            assert_eq!(bytes, expected(size, align), "size {size}, alignment {align}");
        }
    }
}

#[test]
fn huge_layouts_are_large() {
    for align in ALIGNMENTS {
        let most = isize::MAX as usize & !(align - 1);
        for size in [513, 1 << 20, most / 2, most - 7, most] {
            assert_eq!(SizeClass::of(layout(size.min(most), align)), None);
        }
    }
}

#[test]
fn indices_count_the_classes() {
    let classes: Vec<SizeClass> = SizeClass::all().collect();
    assert_eq!(classes.len(), CLASS_COUNT);
    assert_eq!(SizeClass::numbered(0), None);
    for (index, class) in classes.into_iter().enumerate() {
        assert_eq!((class.index(), class.bytes()), (index, 8 * (index + 1)));
        assert_eq!(usize::from(class.number()), index + 1);
        assert_eq!(SizeClass::numbered(class.number()), Some(class));
        let blocks = class.blocks_per_pool() as usize;
        assert!(blocks * class.bytes() <= POOL_BYTES && (blocks + 1) * class.bytes() > POOL_BYTES);
    }
}
