//! After the tests that MicroQuill ships with its allocator SmartHeap, as they are described where others use
//! them: batches of blocks of 1 to 1,000 bytes, the smaller the more likely, one size a batch. Half of a
//! batch is freed at once, the last block first; the rest is freed in the other order, once a number of
//! newer batches are there. One unit of scale is a thousand batches on each thread.
//!
//! - [`own`], known as sh6bench: each thread frees its own blocks.
//! - [`crossed`], known as sh8bench: what is freed later, the next thread frees.

use std::collections::VecDeque;
use std::time::Instant;

use crate::block::new_block;
use crate::harness::Measurement;
use crate::parallel;
use crate::random::Random;
use crate::ring::{self, Batch};

const BATCHES: u64 = 1_000;
const BLOCKS_PER_BATCH: usize = 100;
const BATCHES_KEPT: usize = 50;
const MAX_SIZE: usize = 1_000;

pub fn own(threads: usize, scale: u32) -> Measurement {
    let batches = u64::from(scale) * BATCHES;
    let start = Instant::now();
    let checksum = parallel::sum(threads, |stream| {
        work(Random::new(stream), batches, |mut oldest| {
            oldest.drain(..).for_each(drop);
            oldest
        })
    });
    measurement(start, threads, batches, checksum)
}

pub fn crossed(threads: usize, scale: u32) -> Measurement {
    let batches = u64::from(scale) * BATCHES;
    let places = ring::places(threads).into_iter().enumerate().collect();
    let start = Instant::now();
    let checksum = parallel::sum_each(places, |(stream, mut place)| {
        let bytes = work(Random::new(stream), batches, |oldest| {
            let mut received = place.exchange(oldest);
            received.drain(..).for_each(drop);
            received
        });
        place.leave();
        bytes
    });
    measurement(start, threads, batches, checksum)
}

/// The bytes of all blocks that were allocated. `retire` turns the oldest batch into an empty one.
fn work(mut random: Random, batches: u64, mut retire: impl FnMut(Batch) -> Batch) -> u64 {
    let mut bytes = 0;
    let mut kept = VecDeque::new();
    let mut batch = Batch::new();
    for _ in 0..batches {
        let size = random.mostly_low(1..=MAX_SIZE);
        bytes += (size * BLOCKS_PER_BATCH) as u64;
        batch.extend((0..BLOCKS_PER_BATCH).map(|_| new_block(size)));
        while batch.len() > BLOCKS_PER_BATCH / 2 {
            batch.pop();
        }
        kept.push_back(batch);
        batch = if kept.len() > BATCHES_KEPT
            && let Some(oldest) = kept.pop_front()
        {
            retire(oldest)
        } else {
            Batch::new()
        };
    }
    bytes
}

fn measurement(start: Instant, threads: usize, batches: u64, checksum: u64) -> Measurement {
    let operations = threads as u64 * batches * BLOCKS_PER_BATCH as u64;
    Measurement { elapsed: start.elapsed(), operations: Some(operations), checksum, held: None }
}
