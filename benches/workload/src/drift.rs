//! The sizes in use drift from small to large while the number of live bytes stays the same: memory that
//! served one size must come to serve the next. In each step random blocks make room for blocks of the
//! step's size, give or take a quarter. What is held is read at the end, while all is live; the reference is
//! the live bytes. One unit of scale is a MiB of live bytes.

use std::time::Instant;

use crate::block::{Block, new_block, resident_slots};
use crate::harness::Measurement;
use crate::memory::Before;
use crate::random::Random;

const STEPS: usize = 32;
const FIRST_SIZE: usize = 16;
const LAST_SIZE: usize = 512;
/// The part of the live bytes that is replaced in a step is one of so many.
const STEPS_PER_TURNOVER: usize = 4;

/// The blocks that are live.
struct Population {
    blocks: Vec<Block>,
    live_bytes: usize,
    limit: usize,
    random: Random,
}

pub fn run(mebibytes: u32) -> Measurement {
    let limit = (mebibytes as usize) << 20;
    // Blocks of the first step are smaller than its size by a quarter at most.
    let most_blocks = limit / (FIRST_SIZE - FIRST_SIZE / 4) + 1;
    let mut population = Population {
        blocks: resident_slots(most_blocks),
        live_bytes: 0,
        limit,
        random: Random::new(0),
    };
    let before = Before::now();
    let start = Instant::now();
    let mut operations = population.add(FIRST_SIZE, limit);
    for step in 0..STEPS {
        let size = FIRST_SIZE + (LAST_SIZE - FIRST_SIZE) * step / (STEPS - 1);
        operations += population.add(size, limit / STEPS_PER_TURNOVER);
    }
    let elapsed = start.elapsed();
    let held = before.held(population.live_bytes as u64);
    let checksum = population.live_bytes as u64;
    Measurement { elapsed, operations: Some(operations), checksum, held }
}

impl Population {
    /// Adds blocks of about `size`, of `bytes` in total, and drops random ones beyond the limit. Tells how
    /// many blocks were added.
    fn add(&mut self, size: usize, bytes: usize) -> u64 {
        let mut added_blocks = 0;
        let mut added_bytes = 0;
        while added_bytes < bytes {
            let size = self.random.within(size - size / 4..=size + size / 4);
            self.make_room(size);
            self.blocks.push(new_block(size));
            self.live_bytes += size;
            added_blocks += 1;
            added_bytes += size;
        }
        added_blocks
    }

    fn make_room(&mut self, bytes: usize) {
        while self.live_bytes + bytes > self.limit {
            let victim = self.random.below(self.blocks.len());
            self.live_bytes -= self.blocks.swap_remove(victim).len();
        }
    }
}
