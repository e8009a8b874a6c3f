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
    assert_eq!(SizeClass::at(CLASS_COUNT), None);
    for (index, class) in classes.into_iter().enumerate() {
        assert_eq!((class.index(), class.bytes()), (index, 8 * (index + 1)));
        assert_eq!(SizeClass::at(index), Some(class));
        assert_eq!(usize::from(class.number()), index + 1);
        assert_eq!(SizeClass::numbered(class.number()), Some(class));
        let blocks = class.blocks_per_pool() as usize;
        assert!(blocks * class.bytes() <= POOL_BYTES && (blocks + 1) * class.bytes() > POOL_BYTES);
    }
}

#[test]
fn first_blocks_are_aligned_and_leave_room_for_all() {
    for class in SizeClass::all() {
        let alignment = 1 << class.bytes().trailing_zeros();
        let rest = POOL_BYTES - class.blocks_per_pool() as usize * class.bytes();
        let pools = (0..2 * POOLS_PER_ARENA).map(|number| number * POOL_BYTES);
        let mut firsts: Vec<usize> = pools.map(|pool| class.first_block(pool)).collect();
        assert!(firsts.iter().all(|first| first % alignment == 0 && *first <= rest), "{class:?}");
        firsts.sort_unstable();
        // Each that there can be, about as often as any other.
        let counts: Vec<usize> =
            firsts.chunk_by(|one, other| one == other).map(<[usize]>::len).collect();
        assert_eq!(counts.len(), rest / alignment + 1, "{class:?}");
        let mean = firsts.len() / counts.len();
        assert!(counts.iter().all(|count| count.abs_diff(mean) <= 2), "{class:?}: {counts:?}");
    }
}

/// Of the places that a page's cache lines have, as many as blocks of this class start in, in one arena.
fn places_of_starts(bytes: usize) -> usize {
    const LINE: usize = 64;
    let class = SizeClass::of(layout(bytes, 8)).expect("a class");
    let mut places: Vec<usize> = (1..POOLS_PER_ARENA)
        .flat_map(|number| {
            let first = class.first_block(number * POOL_BYTES);
            (0..class.blocks_per_pool() as usize).map(move |block| first + block * bytes)
        })
        .map(|start| start / LINE)
        .collect();
    places.sort_unstable();
    places.dedup();
    places.len()
}

#[test]
fn blocks_of_a_class_start_in_more_cache_sets_than_a_pool_has_of_them() {
    // The nodes of an ordered map, a class that leaves much, and one that leaves nothing.
    assert_eq!(POOL_BYTES / 368, 11);
    assert!(places_of_starts(368) > 11 + 6);
    assert!(places_of_starts(344) > 11 + 40);
    assert_eq!(places_of_starts(512), 8);
}
