use super::*;

/// The definition, spelled out: of the size class if there is one, else of the large class if the request is at most so
/// large.
fn expected(layout: Layout, most: usize) -> Option<BinIndex> {
    let small = SizeClass::of(layout).map(BinIndex::of_small);
    let is_near = layout.size() <= most;
    small.or_else(|| LargeClass::of(layout).filter(|_| is_near).map(BinIndex::of_large))
}

#[test]
fn every_layout_has_the_bin_of_its_class() {
    for shift in 0..8 {
        for size in 0..=LOOKED_UP_MAX + 64 {
            let layout = Layout::from_size_align(size, 1 << shift).expect("a possible layout");
            for most in [SMALL_MAX, LOOKED_UP_MAX] {
                assert_eq!(BinIndex::of(layout, most), expected(layout, most), "{layout:?}");
            }
        }
    }
}

#[test]
fn huge_layouts_have_none() {
    for shift in 0..16 {
        let most = isize::MAX as usize & !((1 << shift) - 1);
        for size in [LARGE_CACHED_MAX + 1, 1 << 20, most / 2, most - 7, most] {
            let layout = Layout::from_size_align(size.min(most), 1 << shift).expect("possible");
            assert_eq!(BinIndex::of(layout, LOOKED_UP_MAX), None, "{layout:?}");
        }
    }
}

#[test]
fn indices_count_all_classes() {
    let small = SizeClass::all().map(|class| (BinIndex::of_small(class), BinClass::Small(class)));
    let large = LargeClass::all().map(|class| (BinIndex::of_large(class), BinClass::Large(class)));
    let all: Vec<(BinIndex, BinClass)> = small.chain(large).collect();
    assert_eq!(all.len(), BIN_COUNT);
    for (index, (bin, class)) in all.into_iter().enumerate() {
        assert_eq!((bin.place(), bin.class()), (index * size_of::<Bin>(), class));
        let bytes = match class {
            BinClass::Small(class) => class.bytes(),
            BinClass::Large(class) => class.bytes(),
        };
        assert_eq!(bin.block_bytes(), bytes);
    }
}
