//! Allocates and frees one block at a time, in four sizes. One unit of scale is a million pairs of each.

use std::hint::black_box;
use std::time::Instant;

use crate::harness::Measurement;

const PAIRS: u64 = 1_000_000;
const SIZES: u64 = 4;

pub fn run(scale: u32) -> Measurement {
    let pairs = u64::from(scale) * PAIRS;
    let start = Instant::now();
    repeat::<16>(pairs);
    repeat::<48>(pairs);
    repeat::<64>(pairs);
    repeat::<256>(pairs);
    let operations = SIZES * pairs;
    Measurement {
        elapsed: start.elapsed(),
        operations: Some(operations),
        checksum: operations,
        held: None,
    }
}

fn repeat<const SIZE: usize>(pairs: u64) {
    for _ in 0..pairs {
        // The compiler may drop an allocation that nobody sees.
        black_box(Box::<[u8; SIZE]>::new_uninit());
    }
}
