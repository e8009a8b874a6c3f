//! Producers fill buffers of 1 to 16 KiB, consumers read and drop them, as between the two ends of a
//! connection: every block is freed by another thread than the one that allocated it. Buffers travel in
//! batches, so that the allocator is timed and not the channel. Half of the cores produce. One unit of
//! scale is one batch a producer.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Instant;

use crate::block::{Block, new_block};
use crate::harness::Measurement;
use crate::random::Random;

const BUFFERS_PER_BATCH: usize = 32;
const BATCHES_IN_FLIGHT: usize = 16;

pub fn run(threads: usize, batches: u32) -> Measurement {
    let pairs = (threads / 2).max(1);
    let start = Instant::now();
    let checksum = thread::scope(|scope| {
        let consumers: Vec<_> = (0..pairs)
            .map(|stream| {
                let (sender, receiver) = mpsc::sync_channel(BATCHES_IN_FLIGHT);
                scope.spawn(move || produce(&sender, Random::new(stream), batches));
                scope.spawn(move || consume(&receiver))
            })
            .collect();
        consumers
            .into_iter()
            .map(|consumer| consumer.join().expect("a consumer does not panic"))
            .fold(0, u64::wrapping_add)
    });
    let operations = pairs as u64 * u64::from(batches) * BUFFERS_PER_BATCH as u64;
    Measurement { elapsed: start.elapsed(), operations: Some(operations), checksum, held: None }
}

fn produce(sender: &SyncSender<Vec<Block>>, mut random: Random, batches: u32) {
    for _ in 0..batches {
        let buffers = (0..BUFFERS_PER_BATCH).map(|_| new_block(random.within(1024..=16384)));
        sender.send(buffers.collect()).expect("the consumer reads to the end");
    }
}

fn consume(receiver: &Receiver<Vec<Block>>) -> u64 {
    receiver.iter().flatten().map(|buffer| buffer.len() as u64).fold(0, u64::wrapping_add)
}
