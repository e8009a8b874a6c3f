//! Large blocks: every size around the edges of their classes, in every state; and allocators over
//! different others, which share small blocks and never a large one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;

use obmalloc::Obmalloc;

#[path = "common/blocks.rs"]
mod blocks;

use blocks::Block;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// Knows what it has given, and with which layout.
struct Recording {
    live: Mutex<Option<HashMap<usize, Layout>>>,
}

impl Recording {
    const fn new() -> Self {
        Self { live: Mutex::new(None) }
    }

    fn with_live<R>(&self, look: impl FnOnce(&mut HashMap<usize, Layout>) -> R) -> R {
        look(self.live.lock().expect("no panic before").get_or_insert_default())
    }

    fn live_blocks(&self) -> usize {
        self.with_live(|live| live.len())
    }
}

// SAFETY: all is passed on to the system allocator.
unsafe impl GlobalAlloc for Recording {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller owes the same.
        let block = unsafe { System.alloc(layout) };
        let before = self.with_live(|live| live.insert(block.addr(), layout));
        assert_eq!(before, None, "given twice");
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let given = self.with_live(|live| live.remove(&block.addr()));
        assert_eq!(given, Some(layout), "another's block, or another layout");
        // SAFETY: the caller owes the same.
        unsafe { System.dealloc(block, layout) }
    }
}

/// A type for each of the two recordings, which tests then ask.
struct One;
struct Other;

static RECORDINGS: [Recording; 2] = [Recording::new(), Recording::new()];

// SAFETY: all is passed on.
unsafe impl GlobalAlloc for One {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller owes the same.
        unsafe { RECORDINGS[0].alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller owes the same.
        unsafe { RECORDINGS[0].dealloc(block, layout) }
    }
}

// SAFETY: all is passed on.
unsafe impl GlobalAlloc for Other {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller owes the same.
        unsafe { RECORDINGS[1].alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller owes the same.
        unsafe { RECORDINGS[1].dealloc(block, layout) }
    }
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a possible layout")
}

/// Sizes on both sides of each edge of a class, eight to a doubling, and beyond the last.
fn sizes_around_edges() -> Vec<usize> {
    let edges = (0..6).flat_map(|doubling| (8..16).map(move |step| step << (6 + doubling)));
    let around = edges.flat_map(|edge| [edge - 1, edge, edge + 1]);
    around.chain([32_767, 32_768, 32_769, 40_000, 131_072, 1 << 20]).collect()
}

#[test]
fn blocks_of_every_class_keep_what_is_written() {
    for align in [1, 8, 16, 32, 64, 4096] {
        let sizes = sizes_around_edges();
        // Twice: the second time from what was freed the first.
        for _ in 0..2 {
            let blocks: Vec<Block> = sizes
                .iter()
                .enumerate()
                .map(|(owner, size)| Block::allocate(&GLOBAL, layout(*size, align), owner))
                .collect();
            blocks.iter().for_each(Block::check);
            blocks.into_iter().for_each(|block| block.free(&GLOBAL));
        }
    }
}

#[test]
fn a_block_stays_in_its_class_and_keeps_its_contents_elsewhere() {
    let sizes = sizes_around_edges();
    for (number, from) in sizes.iter().enumerate() {
        for to in sizes.iter().skip(number % 5).step_by(5) {
            let block = Block::allocate(&GLOBAL, layout(*from, 8), 1);
            let start = block.start;
            let block = block.resize(&GLOBAL, *to).expect("memory");
            let class = |size: usize| {
                let step = size.next_power_of_two() / 16;
                size.next_multiple_of(step.max(1))
            };
            let is_kept = |size: usize| (513..=32_768).contains(&size);
            if is_kept(*from) && is_kept(*to) && class(*from) == class(*to) {
                assert!(block.start == start || cfg!(obmalloc_no_arenas), "{from} to {to} moved");
            }
            block.free(&GLOBAL);
        }
    }
}

#[test]
fn a_vector_grows_and_shrinks_through_all_classes() {
    let mut vector = Vec::new();
    for number in 0..300_000_u32 {
        vector.push(number);
    }
    while vector.capacity() > 0 {
        assert!(vector.iter().copied().eq(0..vector.len() as u32));
        vector.truncate(vector.len() * 2 / 3);
        vector.shrink_to_fit();
    }
}

#[test]
fn a_zeroed_block_is_zero_where_a_dirty_one_was() {
    for size in sizes_around_edges() {
        for _ in 0..3 {
            let dirty: Vec<Block> =
                (0..4).map(|owner| Block::allocate(&GLOBAL, layout(size, 1), owner)).collect();
            dirty.into_iter().for_each(|block| block.free(&GLOBAL));
            let zeroed: Vec<Vec<u8>> = (0..6).map(|_| vec![0; size]).collect();
            assert!(zeroed.iter().flatten().all(|byte| *byte == 0), "{size} bytes");
        }
    }
}

#[test]
fn threads_hand_large_blocks_on_and_end_with_some_at_hand() {
    let sizes = sizes_around_edges();
    for _ in 0..20 {
        let made = thread::spawn({
            let sizes = sizes.clone();
            move || {
                let blocks: Vec<Block> = sizes
                    .iter()
                    .map(|size| Block::allocate(&GLOBAL, layout(*size, 16), 7))
                    .collect();
                Block::allocate(&GLOBAL, layout(5000, 16), 8).free(&GLOBAL);
                blocks
            }
        });
        let blocks = made.join().expect("no panic");
        let freed = thread::spawn(move || blocks.into_iter().for_each(|block| block.free(&GLOBAL)));
        freed.join().expect("no panic");
    }
}

static OVER_ONE: Obmalloc<One> = Obmalloc::with_large(One);
static OVER_OTHER: Obmalloc<Other> = Obmalloc::with_large(Other);

/// Blocks of all sides through one allocator, between blocks of all sides through others.
fn use_through(allocator: &impl GlobalAlloc, owner: usize) {
    for round in 0..30 {
        let sizes = [1, 40, 512, 513, 600, 1024, 5000, 32_768, 40_000];
        let own: Vec<Block> = sizes
            .iter()
            .map(|size| Block::allocate(allocator, layout(size + round, 8), owner))
            .collect();
        let global: Vec<Block> = sizes
            .iter()
            .map(|size| Block::allocate(&GLOBAL, layout(size + round, 8), owner))
            .collect();
        for block in own {
            let new_size = block.layout.size() + 700;
            block.resize(allocator, new_size).expect("memory").free(allocator);
        }
        global.into_iter().for_each(|block| block.free(&GLOBAL));
    }
}

#[test]
fn allocators_over_different_others_never_exchange_large_blocks() {
    thread::scope(|scope| {
        for owner in 0..3 {
            scope.spawn(move || use_through(&OVER_ONE, owner));
            scope.spawn(move || use_through(&OVER_OTHER, owner));
            scope.spawn(move || {
                use_through(&OVER_ONE, owner);
                use_through(&OVER_OTHER, owner);
            });
        }
    });
    // Each has seen its own blocks come back, with their own layouts, and none is kept anywhere.
    assert_eq!(RECORDINGS.each_ref().map(Recording::live_blocks), [0, 0]);
}

#[test]
fn the_other_gets_the_very_layouts_that_are_asked_for() {
    struct Checking;

    static SEEN: Mutex<Vec<Layout>> = Mutex::new(Vec::new());

    // SAFETY: all is passed on to the system allocator.
    unsafe impl GlobalAlloc for Checking {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            SEEN.lock().expect("no panic before").push(layout);
            // SAFETY: the caller owes the same.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the caller owes the same.
            unsafe { System.dealloc(block, layout) }
        }
    }

    let allocator = Obmalloc::with_large(Checking);
    let asked = [(513, 1), (700, 16), (3000, 8), (32_768, 4), (50_000, 8), (600, 4096)];
    for (size, align) in asked {
        Block::allocate(&allocator, layout(size, align), 0).free(&allocator);
    }
    let seen = SEEN.lock().expect("no panic before").clone();
    assert_eq!(seen, asked.map(|(size, align)| layout(size, align)));
}
