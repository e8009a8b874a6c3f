//! Threads take turns: each frees the batch of blocks that the one before it allocated, and allocates the
//! next, so that one batch is live at any time. What is held is read at the end, with one batch live; the
//! reference is the bytes of a batch. One unit of scale is one turn of each thread.

use std::thread;
use std::time::Instant;

use crate::harness::Measurement;
use crate::memory::Before;
use crate::workers::{BATCH_BYTES, Worker, empty_batch};

const THREADS: usize = 8;

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
            }
        }
        let elapsed = start.elapsed();
        let held = before.held(BATCH_BYTES);
        Measurement { elapsed, operations: Some(operations), checksum: operations, held }
    })
}
