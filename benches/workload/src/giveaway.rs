//! Threads take turns to allocate a batch of blocks, which the main thread frees before the next turn; the
//! threads live on and wait. What is held is read at the end, with no batch live; the reference is the bytes
//! of a batch. One unit of scale is one turn of each thread.

use std::thread;
use std::time::Instant;

use crate::harness::Measurement;
use crate::memory::Before;
use crate::workers::{BATCH_BYTES, Worker, empty_batch};

const THREADS: usize = 16;

pub fn run(rounds: u32) -> Measurement {
    let mut batch = empty_batch();
    thread::scope(|scope| {
        let workers: Vec<Worker> = (0..THREADS).map(|_| Worker::start(scope)).collect();
        let before = Before::now();
        let start = Instant::now();
        let mut operations = 0;
        for _ in 0..rounds {
            for worker in &workers {
                batch = worker.refill(batch);
                operations += batch.len() as u64;
                batch.clear();
            }
        }
        let elapsed = start.elapsed();
        let held = before.held(BATCH_BYTES);
        Measurement { elapsed, operations: Some(operations), checksum: operations, held }
    })
}
