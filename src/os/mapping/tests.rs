use super::*;

/// Checks that what was mapped reads as zero at both ends and can be written to.
fn assert_fresh(mapped: NonNull<u8>) {
    for offset in [0, ARENA_BYTES - 1] {
        // SAFETY: so many bytes were mapped, less one.
        let place = unsafe { mapped.add(offset) };
        // SAFETY: mapped, and this test's.
        assert_eq!(unsafe { place.read() }, 0);
        // SAFETY: as above.
        unsafe { place.write(1) };
    }
}

#[test]
fn the_first_arena_comes_with_its_tables_and_the_next_alone() {
    let pages = SystemPages::new();
    let first = pages.map().expect("there is memory");
    let tables: Vec<NonNull<u8>> =
        (0..FIRST_TABLES + 2).filter_map(|_| pages.map_table()).collect();
    let arenas =
        [first, pages.map().expect("there is memory"), pages.map().expect("there is memory")];
    for (index, table) in tables.iter().take(FIRST_TABLES).enumerate() {
        assert_eq!(table.addr().get(), first.addr().get() + (index + 1) * ARENA_BYTES);
    }
    // Behind these is what belongs to others.
    let behind = first.addr().get() + (1 + FIRST_TABLES) * ARENA_BYTES;
    assert!(tables.iter().all(|table| table.addr().get() != behind));
    for arena in arenas {
        assert_eq!(arena.addr().get() % ARENA_BYTES, 0);
    }
    let mut all: Vec<NonNull<u8>> = tables.iter().copied().chain(arenas).collect();
    assert_eq!(all.len(), FIRST_TABLES + 2 + arenas.len());
    all.sort_unstable();
    assert!(all.is_sorted_by(|low, high| high.addr().get() - low.addr().get() >= ARENA_BYTES));
    all.into_iter().for_each(assert_fresh);
    for arena in arenas {
        // SAFETY: mapped above, and not used again.
        assert!(unsafe { pages.release(arena) });
    }
    for table in tables {
        // SAFETY: as above.
        unsafe { pages.release_table(table) };
    }
}

#[test]
fn threads_that_take_tables_at_once_get_different_ones() {
    let pages = SystemPages::new();
    let arena = pages.map().expect("there is memory");
    let mut taken: Vec<usize> = std::thread::scope(|scope| {
        let take = || pages.map_table().map(|table| table.addr().get());
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("a thread ends")).collect()
    });
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 4);
    let first = arena.addr().get() + ARENA_BYTES;
    let with_arena =
        taken.iter().filter(|table| (first..first + FIRST_TABLES * ARENA_BYTES).contains(table));
    assert_eq!(with_arena.count(), FIRST_TABLES);
}
