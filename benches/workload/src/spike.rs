//! A spike: many blocks of random size are allocated, then freed in random order; two seconds of light
//! activity follow, in which an allocator may notice that the memory is no longer wanted. Then what is
//! held is read. One unit of scale is a million bytes of blocks.
//!
//! - [`all_freed`]: no block of the spike is kept; the reference is the bytes of the spike.
//! - [`some_kept`]: one block in a thousand is kept, at random; the reference is one page for each of them,
//!   the least that can stay resident.

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use crate::block::{Block, new_block, resident_slots};
use crate::harness::Measurement;
use crate::memory::Before;
use crate::random::Random;

const SIZES: RangeInclusive<usize> = 8..=512;
const MEAN_SIZE: usize = (*SIZES.start() + *SIZES.end()) / 2;
const BLOCKS_PER_KEPT: usize = 1_000;
const PAGE_BYTES: u64 = 4096;

/// For two seconds: some allocators give memory back only a second after it was freed.
const TICKS: usize = 200;
const TICK: Duration = Duration::from_millis(10);
const BLOCKS_PER_TICK: usize = 200;
const RING: usize = 2_000;

pub fn all_freed(megabytes: u32) -> Measurement {
    run(megabytes, |_| 0, |spike_bytes, _| spike_bytes)
}

pub fn some_kept(megabytes: u32) -> Measurement {
    run(megabytes, |blocks| blocks / BLOCKS_PER_KEPT, |_, kept| kept as u64 * PAGE_BYTES)
}

/// `kept` tells how many of so many blocks are kept; `reference` follows from the bytes of the spike and
/// the number of kept blocks.
fn run(
    megabytes: u32,
    kept: impl Fn(usize) -> usize,
    reference: impl Fn(u64, usize) -> u64,
) -> Measurement {
    let mut random = Random::new(0);
    let count = megabytes as usize * 1_000_000 / MEAN_SIZE;
    let kept = kept(count);
    let mut blocks = resident_slots(count);
    let mut ring = resident_slots(RING);
    let before = Before::now();
    let start = Instant::now();
    blocks.extend((0..count).map(|_| new_block(random.within(SIZES))));
    let spike_bytes = blocks.iter().map(|block| block.len() as u64).sum();
    random.shuffle(&mut blocks);
    blocks.truncate(kept);
    let elapsed = start.elapsed();
    be_lightly_active(&mut ring, &mut random);
    let held = before.held(reference(spike_bytes, kept));
    let operations = Some(count as u64);
    Measurement { elapsed, operations, checksum: spike_bytes, held }
}

/// Allocates a few blocks at a time, each of which replaces the oldest one of the ring once that is full.
fn be_lightly_active(ring: &mut Vec<Block>, random: &mut Random) {
    for number in 0..TICKS * BLOCKS_PER_TICK {
        if number.is_multiple_of(BLOCKS_PER_TICK) {
            thread::sleep(TICK);
        }
        let block = new_block(random.within(SIZES));
        if ring.len() < RING {
            ring.push(block);
        } else {
            ring[number % RING] = block;
        }
    }
}
