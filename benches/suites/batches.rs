//! What does an allocation cost when many blocks live, and does it matter in which order they go?
//!
//! Each round allocates a batch of blocks of one size, writes to each, and frees them: the last one first,
//! the first one first, or in no order (the same one in each round). A short batch stays in the caches of
//! a thread; a long one goes through to what the threads share. Times are those of a batch; the throughput
//! is in blocks.
//!
//! Its weakness: between the rounds the heap is empty, so that no allocator has to look for room among
//! blocks that live, and all blocks have one size. A batch freed last one first leaves the free blocks as
//! they were, which flatters an allocator that keeps them in a list.

use std::alloc::GlobalAlloc;
use std::hint::black_box;
use std::ptr::NonNull;

use criterion::{Criterion, criterion_group, criterion_main};
use suites::{Case, Random, Request, Suite, allocate, release, short_rounds, write_start};

/// Which block of a batch is freed first.
#[derive(Clone, Copy)]
enum Order {
    LastFirst,
    FirstFirst,
    Shuffled,
}

impl Order {
    const ALL: [Self; 3] = [Self::LastFirst, Self::FirstFirst, Self::Shuffled];

    fn name(self) -> &'static str {
        match self {
            Self::LastFirst => "last one first",
            Self::FirstFirst => "first one first",
            Self::Shuffled => "shuffled",
        }
    }

    /// The blocks' positions in the batch, in the order in which they are freed.
    fn positions(self, count: usize) -> Vec<usize> {
        match self {
            Self::LastFirst => (0..count).rev().collect(),
            Self::FirstFirst => (0..count).collect(),
            Self::Shuffled => Random::new(0).permutation(count),
        }
    }
}

/// A batch of blocks of a constant size.
struct Batch<const SIZE: usize> {
    order: Order,
    count: usize,
}

struct Blocks {
    blocks: Vec<NonNull<u8>>,
    /// A permutation of the positions in `blocks`.
    positions: Vec<usize>,
}

impl<const SIZE: usize> Batch<SIZE> {
    const REQUEST: Request = Request::of(SIZE);
}

impl<const SIZE: usize> Case for Batch<SIZE> {
    type Held = Blocks;

    fn name(&self) -> String {
        format!("{} of {SIZE}, {}", self.count, self.order.name())
    }

    fn blocks_per_round(&self) -> Option<u64> {
        Some(self.count as u64)
    }

    fn prepare(&self, _: &impl GlobalAlloc) -> Blocks {
        let blocks = vec![NonNull::dangling(); self.count];
        Blocks { blocks, positions: self.order.positions(self.count) }
    }

    #[inline(always)]
    unsafe fn round(&self, allocator: &impl GlobalAlloc, held: &mut Blocks) {
        for block in &mut held.blocks {
            *block = allocate(allocator, Self::REQUEST);
            // SAFETY: the block was just allocated.
            unsafe { write_start(*block) }
        }
        for &position in black_box(&held.positions) {
            let block = held.blocks[position];
            // SAFETY: each block was just allocated, and each position comes once.
            unsafe { release(allocator, block, Self::REQUEST) }
        }
    }

    unsafe fn finish(&self, _: &impl GlobalAlloc, _: Blocks) {}
}

fn batches(criterion: &mut Criterion) {
    let mut suite = Suite::new(criterion, "batches");
    for count in [100, 10_000] {
        for order in Order::ALL {
            suite.measure(&Batch::<16> { order, count });
            suite.measure(&Batch::<64> { order, count });
            suite.measure(&Batch::<512> { order, count });
        }
    }
}

criterion_group! {
    name = suite;
    // 288 measurements in two to three minutes.
    config = short_rounds(0.3, 20);
    targets = batches
}
criterion_main!(suite);
