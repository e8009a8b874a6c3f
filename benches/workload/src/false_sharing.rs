//! The two tests for false sharing of Berger et al. ("Hoard: a scalable memory allocator for multithreaded
//! applications", 2000): each thread allocates an object of 1 to 8 bytes, writes it many times, frees it and
//! takes the next. Where objects of two threads share a cache line, the threads take it from each other
//! at every write. One unit of scale is one round, whose threads start and end.
//!
//! - [`active`], known as cache-thrash: does an allocator put objects of two threads on one line?
//! - [`passive`], known as cache-scratch: the first object of each thread comes from the main thread, and all of
//!   them lie side by side. Does an allocator give a thread such an object anew once it freed it?

use std::hint::black_box;
use std::time::Instant;

use crate::block::{Block, new_block};
use crate::harness::Measurement;
use crate::parallel;

const SIZES: usize = 8;
const OBJECTS_PER_ROUND: usize = 2_000;
const WRITES_PER_BYTE: u8 = 100;

pub fn active(threads: usize, rounds: u32) -> Measurement {
    run(threads, rounds, || (0..threads).map(|_| None).collect())
}

pub fn passive(threads: usize, rounds: u32) -> Measurement {
    run(threads, rounds, || (0..threads).map(|_| Some(new_block(SIZES))).collect())
}

/// `first_objects` makes what each thread of a round is given.
fn run(threads: usize, rounds: u32, first_objects: impl Fn() -> Vec<Option<Block>>) -> Measurement {
    let start = Instant::now();
    let checksum = (0..rounds)
        .map(|_| parallel::sum_each(first_objects(), write_objects))
        .fold(0, u64::wrapping_add);
    let operations = threads as u64 * u64::from(rounds) * OBJECTS_PER_ROUND as u64;
    Measurement { elapsed: start.elapsed(), operations: Some(operations), checksum, held: None }
}

/// The number of bytes of all objects.
fn write_objects(first: Option<Block>) -> u64 {
    let mut bytes = 0;
    if let Some(object) = first {
        bytes += write(object);
    }
    for number in 0..OBJECTS_PER_ROUND {
        bytes += write(new_block(1 + number % SIZES));
    }
    bytes
}

/// Writes byte after byte, again and again, and frees the object.
fn write(mut object: Block) -> u64 {
    for value in 0..WRITES_PER_BYTE {
        for byte in &mut object {
            // The compiler must not make one write of many.
            black_box(byte.write(value));
        }
    }
    object.len() as u64
}
