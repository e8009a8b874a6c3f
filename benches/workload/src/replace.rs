//! Replaces random blocks by blocks of random size. One unit of scale is a million replacements.
//!
//! - [`small`]: a million slots of at most 512 bytes, so that nothing is in a cache.
//! - [`mixed`]: 50,000 slots of at most 8 KiB, most of them above 512 bytes.

use std::ops::RangeInclusive;
use std::time::Instant;

use crate::block::{Block, new_block};
use crate::harness::Measurement;
use crate::random::Random;

const REPLACEMENTS: u64 = 1_000_000;

pub fn small(scale: u32) -> Measurement {
    run(1 << 20, 8..=512, scale)
}

pub fn mixed(scale: u32) -> Measurement {
    run(50_000, 8..=8192, scale)
}

fn run(slot_count: usize, sizes: RangeInclusive<usize>, scale: u32) -> Measurement {
    let mut random = Random::new(0);
    let mut slots: Vec<Block> =
        (0..slot_count).map(|_| new_block(random.within(sizes.clone()))).collect();
    let replacements = u64::from(scale) * REPLACEMENTS;
    let start = Instant::now();
    let mut allocated = 0;
    for _ in 0..replacements {
        let slot = random.below(slot_count);
        let size = random.within(sizes.clone());
        slots[slot] = new_block(size);
        allocated += size as u64;
    }
    Measurement {
        elapsed: start.elapsed(),
        operations: Some(replacements),
        checksum: allocated,
        held: None,
    }
}
