//! Many blocks of one size are freed, but for one in 64, and then blocks of another size are allocated: the
//! few that are left must not keep the memory around them from being used again. What is held is read
//! then; the reference is the live bytes. One unit of scale is a thousand of the larger blocks.

use std::time::Instant;

use crate::block::{new_block, resident_slots};
use crate::harness::Measurement;
use crate::memory::Before;

const SMALLER: usize = 64;
const LARGER: usize = 192;
const SMALLER_PER_LARGER: usize = 4;
const BLOCKS_PER_KEPT: usize = 64;

pub fn run(thousands: u32) -> Measurement {
    let larger_count = thousands as usize * 1_000;
    let smaller_count = larger_count * SMALLER_PER_LARGER;
    let mut smaller = resident_slots(smaller_count);
    let mut larger = resident_slots(larger_count);
    let before = Before::now();
    let start = Instant::now();
    smaller.extend((0..smaller_count).map(|_| new_block(SMALLER)));
    let mut number = 0_usize;
    smaller.retain(|_| {
        number += 1;
        number.is_multiple_of(BLOCKS_PER_KEPT)
    });
    larger.extend((0..larger_count).map(|_| new_block(LARGER)));
    let elapsed = start.elapsed();
    let live_bytes = (smaller.len() * SMALLER + larger.len() * LARGER) as u64;
    let held = before.held(live_bytes);
    let operations = Some((smaller_count + larger_count) as u64);
    Measurement { elapsed, operations, checksum: live_bytes, held }
}
