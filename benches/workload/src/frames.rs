//! Works on frames as an image or signal pipeline does: each round takes eight buffers of 32 KiB to
//! 16 MiB, writes to each of their pages, grows a vector of bytes to a megabyte, and frees all. One unit
//! of scale is one round.

use std::time::Instant;

use crate::harness::Measurement;
use crate::random::Random;

const FRAMES: usize = 8;
const PAGE_BYTES: usize = 4096;
const SMALLEST_BYTES: usize = 32 << 10;
const DOUBLINGS: usize = 9;
const LOG_BYTES: usize = 1 << 20;

pub fn run(rounds: u32) -> Measurement {
    let mut random = Random::new(0);
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..rounds {
        let frames: Vec<Vec<u8>> = (0..FRAMES).map(|_| frame(&mut random)).collect();
        checksum = frames.iter().map(|frame| frame.len() as u64).fold(checksum, u64::wrapping_add);
        checksum = checksum.wrapping_add(log().len() as u64);
    }
    Measurement { elapsed: start.elapsed(), operations: None, checksum, held: None }
}

/// Sizes are spread evenly over their logarithms.
fn frame(random: &mut Random) -> Vec<u8> {
    let smallest = SMALLEST_BYTES << random.below(DOUBLINGS);
    let bytes = random.within(smallest..=2 * smallest);
    let mut frame = Vec::with_capacity(bytes);
    for page in frame.spare_capacity_mut().chunks_mut(PAGE_BYTES) {
        page[0].write(1);
    }
    frame.extend((0..bytes.min(PAGE_BYTES)).map(|place| place as u8));
    frame
}

fn log() -> Vec<u8> {
    let mut log = Vec::new();
    while log.len() < LOG_BYTES {
        log.extend_from_slice(b"another line of what happened to the frames, and when\n");
    }
    log
}
