//! The benchmark of rpmalloc (Jansson, 2017), known as rptest: each thread owns blocks of random size,
//! the smaller the more likely, and replaces random ones; half of those that go are freed at once,
//! half are handed on to the next thread, which frees them. One unit of scale is a thousand steps of each
//! thread, of a hundred replacements each.

use std::mem;
use std::time::Instant;

use crate::block::{Block, new_block};
use crate::harness::Measurement;
use crate::parallel;
use crate::random::Random;
use crate::ring::{self, Batch, Place};

const STEPS: u64 = 1_000;
const REPLACEMENTS: usize = 100;
const SLOTS: usize = 1_000;
const MAX_SIZE: usize = 1_000;

pub fn run(threads: usize, scale: u32) -> Measurement {
    let steps = u64::from(scale) * STEPS;
    let places = ring::places(threads).into_iter().enumerate().collect();
    let start = Instant::now();
    let checksum =
        parallel::sum_each(places, |(stream, place)| replace(Random::new(stream), place, steps));
    let operations = threads as u64 * steps * REPLACEMENTS as u64;
    Measurement { elapsed: start.elapsed(), operations: Some(operations), checksum, held: None }
}

/// The bytes of all blocks that were allocated.
fn replace(mut random: Random, mut place: Place, steps: u64) -> u64 {
    let mut bytes = 0;
    let mut new = |random: &mut Random| {
        let size = random.mostly_low(1..=MAX_SIZE);
        bytes += size as u64;
        new_block(size)
    };
    let mut slots: Vec<Block> = (0..SLOTS).map(|_| new(&mut random)).collect();
    let mut handed = Batch::new();
    for _ in 0..steps {
        for number in 0..REPLACEMENTS {
            let slot = random.below(SLOTS);
            let old = mem::replace(&mut slots[slot], new(&mut random));
            if number.is_multiple_of(2) {
                handed.push(old);
            }
        }
        handed = place.exchange(handed);
        handed.clear();
    }
    place.leave();
    bytes
}
