//! `alloc_zeroed` gives zeros whatever its memory has been through. Clearing is skipped where
//! memory is known to be untouched, so what matters is how a block came back: to the thread's own
//! cache, through another thread, through one that ended, in a pool that passed to another class,
//! in an arena that went back to the system or was kept.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use std::slice;
use std::thread;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// More bytes than the heap keeps in empty arenas, so that some arenas are released and some kept.
const MANY_ARENAS_BYTES: usize = 24 << 20;

/// Bytes of several pools of a class, more than a thread caches of it.
const SEVERAL_POOLS_BYTES: usize = 32 * 1024;

/// A block that was all zero, and is all ones since.
struct Dirty {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: nothing but this value refers to its memory, and any thread may use and free it.
unsafe impl Send for Dirty {}

impl Dirty {
    /// Allocates a block, asserts that it is zero, and makes it dirty.
    fn allocate(layout: Layout) -> Self {
        const ZEROS: [u8; 512] = [0; 512];
        // SAFETY: no layout here has a size of zero.
        let start = unsafe { GLOBAL.alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| panic!("no memory for {layout:?}"));
        // SAFETY: the block has as many bytes, and a zeroed block is initialised.
        let bytes = unsafe { slice::from_raw_parts_mut(start.as_ptr(), layout.size()) };
        for (index, part) in bytes.chunks(ZEROS.len()).enumerate() {
            let first = index * ZEROS.len();
            assert!(*part == ZEROS[..part.len()], "{layout:?} is not zero from byte {first} on");
        }
        bytes.fill(0xFF);
        Self { start, layout }
    }

    fn free(self) {
        // SAFETY: the block came from this allocator with this layout, and the value is gone.
        unsafe { GLOBAL.dealloc(self.start.as_ptr(), self.layout) }
    }
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a possible layout")
}

/// The largest layout of each class, a smaller one of it, and one of each with a larger alignment.
fn layouts_of_all_classes() -> impl Iterator<Item = Layout> {
    (1..=64).flat_map(|class| {
        let bytes = 8 * class;
        let align = 1 << usize::trailing_zeros(bytes);
        [layout(bytes, 8), layout(bytes - 3, 1), layout(bytes, align)]
    })
}

fn allocate_bytes(layout: Layout, bytes: usize) -> Vec<Dirty> {
    (0..bytes.div_ceil(layout.size())).map(|_| Dirty::allocate(layout)).collect()
}

fn free_all(blocks: Vec<Dirty>) {
    blocks.into_iter().for_each(Dirty::free);
}

#[test]
fn after_the_same_thread_freed() {
    for layout in layouts_of_all_classes() {
        // One block alone takes the shortest way there is.
        Dirty::allocate(layout).free();
        Dirty::allocate(layout).free();
        for _ in 0..3 {
            free_all(allocate_bytes(layout, SEVERAL_POOLS_BYTES));
        }
    }
}

#[test]
fn while_nothing_is_freed() {
    let held: Vec<Vec<Dirty>> = layouts_of_all_classes()
        .map(|layout| allocate_bytes(layout, 4 * SEVERAL_POOLS_BYTES))
        .collect();
    held.into_iter().for_each(free_all);
}

#[test]
fn after_another_thread_freed() {
    for layout in layouts_of_all_classes() {
        let blocks = allocate_bytes(layout, SEVERAL_POOLS_BYTES);
        // The other thread has blocks of its own, and ends with all of them in its cache.
        let freed_by_another = thread::spawn(move || {
            let own = allocate_bytes(layout, SEVERAL_POOLS_BYTES / 2);
            free_all(blocks);
            free_all(own);
        });
        let own = allocate_bytes(layout, SEVERAL_POOLS_BYTES);
        freed_by_another.join().expect("the other thread's blocks are zero");
        // What the other thread's end gave back, and what this thread frees now.
        let more = allocate_bytes(layout, 2 * SEVERAL_POOLS_BYTES);
        free_all(own);
        free_all(more);
    }
}

#[test]
fn after_a_thread_that_only_allocated_has_ended() {
    for layout in layouts_of_all_classes() {
        // A pool of which only a part was ever handed out.
        let one = thread::spawn(move || Dirty::allocate(layout)).join().expect("a zeroed block");
        let others = allocate_bytes(layout, SEVERAL_POOLS_BYTES);
        one.free();
        free_all(others);
    }
}

#[test]
fn in_a_pool_that_had_another_class() {
    // Each class takes over the pools of the one before. They go back to their arenas when the
    // thread which freed all of their blocks ends.
    let classes: Vec<usize> = (1..=64).map(|step| 8 * (1 + step * 27 % 64)).collect();
    for size in classes {
        thread::spawn(move || free_all(allocate_bytes(layout(size, 8), 512 * 1024)))
            .join()
            .expect("pools that read as zero");
    }
}

#[test]
fn in_an_arena_that_had_been_in_use() {
    for size in [64, 512, 8, 200] {
        thread::spawn(move || free_all(allocate_bytes(layout(size, 8), MANY_ARENAS_BYTES)))
            .join()
            .expect("arenas that read as zero");
    }
}

#[test]
fn in_large_blocks() {
    let sizes = [513, 520, 600, 1000, 1024, 4096, 10_000, 100_000, 1 << 20];
    let plain = sizes.map(|size| layout(size, 8));
    let aligned = sizes.map(|size| layout(size, 4096));
    // No class has this alignment, though the sizes are small.
    let small = [1, 8, 100, 512].map(|size| layout(size, 1024));
    for layout in plain.into_iter().chain(aligned).chain(small) {
        for _ in 0..3 {
            free_all(allocate_bytes(layout, 4 * layout.size()));
        }
    }
}
