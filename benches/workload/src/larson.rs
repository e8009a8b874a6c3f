//! The server simulation of Larson and Krishnan ("Memory allocation for long-running server
//! applications", 1998): a thread owns an array of blocks and replaces random ones by blocks of random
//! size; after a while it hands the array to a successor and ends, so that many blocks are freed by
//! another thread than the one that allocated them. One unit of scale is one generation of threads.

use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Instant;

use crate::block::{Block, new_block};
use crate::harness::Measurement;
use crate::random::Random;

const SLOTS: usize = 5_000;
const REPLACEMENTS: u32 = 100_000;

fn random_size(random: &mut Random) -> usize {
    random.within(10..=500)
}

/// What is handed from a thread to its successor.
struct Server {
    slots: Vec<Block>,
    random: Random,
    allocated: u64,
}

impl Server {
    fn new(stream: usize) -> Self {
        let mut random = Random::new(stream);
        let slots = (0..SLOTS).map(|_| new_block(random_size(&mut random))).collect();
        Self { slots, random, allocated: 0 }
    }

    fn serve(mut self, generations: u32, finished: Sender<Self>) {
        if generations == 0 {
            finished.send(self).expect("the main thread waits for every server");
            return;
        }
        for _ in 0..REPLACEMENTS {
            let slot = self.random.below(SLOTS);
            let size = random_size(&mut self.random);
            self.slots[slot] = new_block(size);
            self.allocated += size as u64;
        }
        thread::spawn(move || self.serve(generations - 1, finished));
    }
}

pub fn run(threads: usize, generations: u32) -> Measurement {
    // The blocks of the first generation come from the main thread, as in the original.
    let servers: Vec<_> = (0..threads).map(Server::new).collect();
    let (finished, results) = mpsc::channel();
    let start = Instant::now();
    for server in servers {
        let finished = finished.clone();
        thread::spawn(move || server.serve(generations, finished));
    }
    drop(finished);
    let allocated = results.iter().map(|server| server.allocated).sum();
    let operations = threads as u64 * u64::from(generations) * u64::from(REPLACEMENTS);
    Measurement {
        elapsed: start.elapsed(),
        operations: Some(operations),
        checksum: allocated,
        held: None,
    }
}
