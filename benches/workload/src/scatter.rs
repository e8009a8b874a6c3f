//! A large structure whose blocks are dropped in no order, as those of a hash map are, and built up again: each block
//! goes back to a page that has been out of all caches for long. 100,000 blocks of 8 to 512 bytes; one unit of scale is
//! ten rounds.

use std::mem;
use std::time::Instant;

use crate::block::{Block, new_block, resident_slots};
use crate::harness::Measurement;
use crate::random::Random;

const BLOCKS: usize = 100_000;
const ROUNDS_PER_UNIT: u32 = 10;

pub fn run(scale: u32) -> Measurement {
    let mut random = Random::new(0);
    let mut order: Vec<usize> = (0..BLOCKS).collect();
    for place in 1..BLOCKS {
        order.swap(place, random.below(place + 1));
    }
    let mut slots = resident_slots(BLOCKS);
    slots.resize_with(BLOCKS, Block::default);
    let rounds = ROUNDS_PER_UNIT * scale;
    let start = Instant::now();
    let mut bytes = 0;
    for _ in 0..rounds {
        for slot in &mut slots {
            *slot = new_block(random.within(8..=512));
        }
        bytes += order.iter().map(|place| mem::take(&mut slots[*place]).len() as u64).sum::<u64>();
    }
    let operations = Some(u64::from(rounds) * BLOCKS as u64);
    Measurement { elapsed: start.elapsed(), operations, checksum: bytes, held: None }
}
