//! The producer and consumer test of Lever and Boreham ("malloc() performance in a multithreaded Linux
//! environment", 2000), known as xmalloc-test: half of the threads only allocate, half only free. Batches
//! of blocks of mixed size go through one queue that all threads share, so that a consumer frees blocks of
//! every producer. One unit of scale is one batch a producer.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::block::{Block, new_block};
use crate::harness::Measurement;
use crate::parallel;
use crate::random::Random;

const SIZES: [usize; 14] = [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320, 384, 500];
const BLOCKS_PER_BATCH: usize = 1024;
const BATCHES_IN_FLIGHT_PER_PAIR: usize = 4;

type Batch = Vec<Block>;

pub fn run(threads: usize, batches: u32) -> Measurement {
    let pairs = (threads / 2).max(1);
    let start = Instant::now();
    let checksum = thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(pairs * BATCHES_IN_FLIGHT_PER_PAIR);
        let queue = Mutex::new(receiver);
        for stream in 0..pairs {
            let sender = sender.clone();
            scope.spawn(move || produce(&sender, Random::new(stream), batches));
        }
        // The queue ends for the consumers once all senders are gone.
        drop(sender);
        parallel::sum(pairs, |_| consume(&queue))
    });
    let operations = pairs as u64 * u64::from(batches) * BLOCKS_PER_BATCH as u64;
    Measurement { elapsed: start.elapsed(), operations: Some(operations), checksum, held: None }
}

fn produce(sender: &SyncSender<Batch>, mut random: Random, batches: u32) {
    for _ in 0..batches {
        let batch = (0..BLOCKS_PER_BATCH).map(|_| new_block(SIZES[random.below(SIZES.len())]));
        sender.send(batch.collect()).expect("the consumers read to the end");
    }
}

/// The bytes of all blocks that were freed.
fn consume(queue: &Mutex<Receiver<Batch>>) -> u64 {
    let mut bytes = 0;
    while let Some(batch) = next_batch(queue) {
        bytes += batch.into_iter().map(|block| block.len() as u64).sum::<u64>();
    }
    bytes
}

/// One consumer waits at the queue, the others for their turn to do so: the lock is released before the
/// batch is freed.
fn next_batch(queue: &Mutex<Receiver<Batch>>) -> Option<Batch> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
