//! Replaces random blocks of a million by blocks of random size: nothing is in a cache. One unit of scale
//! is a million replacements.

use std::time::Instant;

use crate::Measurement;
use crate::block::{Block, new_block};
use crate::random::Random;

const SLOTS: usize = 1 << 20;
const REPLACEMENTS: u64 = 1_000_000;

fn random_size(random: &mut Random) -> usize {
    random.within(8..=512)
}

pub fn run(scale: u32) -> Measurement {
    let mut random = Random::new(0);
    let mut slots: Vec<Block> = (0..SLOTS).map(|_| new_block(random_size(&mut random))).collect();
    let replacements = u64::from(scale) * REPLACEMENTS;
    let start = Instant::now();
    let mut allocated = 0;
    for _ in 0..replacements {
        let slot = random.below(SLOTS);
        let size = random_size(&mut random);
        slots[slot] = new_block(size);
        allocated += size as u64;
    }
    Measurement { elapsed: start.elapsed(), operations: Some(replacements), checksum: allocated }
}
