//! Threads in a ring: each hands batches of blocks on to the next, which frees them.
//!
//! A batch is taken in some steps after it was handed on: threads need not go in step, and yet every run
//! frees the same blocks on the same threads, and never has more than a few batches under way. Whoever
//! waits does so for a thread that has made fewer steps, so that they never all wait.

use std::iter;
use std::sync::mpsc::{self, Receiver, SyncSender};

use crate::block::Block;

const STEPS_UNDER_WAY: usize = 16;
/// A thread may be as far ahead of the next as it may be of the previous one.
const BATCHES_IN_FLIGHT: usize = 2 * STEPS_UNDER_WAY;

pub type Batch = Vec<Block>;

/// The place of a thread in the ring.
pub struct Place {
    next: SyncSender<Batch>,
    previous: Receiver<Batch>,
    steps: usize,
}

/// A ring of so many places; that of a single thread is its own neighbour.
pub fn places(threads: usize) -> Vec<Place> {
    let channels = iter::repeat_with(|| mpsc::sync_channel(BATCHES_IN_FLIGHT)).take(threads);
    let (mut senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
    senders.rotate_left(1);
    let ends = senders.into_iter().zip(receivers);
    ends.map(|(next, previous)| Place { next, previous, steps: 0 }).collect()
}

impl Place {
    /// Hands a batch to the next thread, and takes in one of the previous thread: an empty one at first.
    pub fn exchange(&mut self, batch: Batch) -> Batch {
        self.next.send(batch).expect("the next thread takes in all batches");
        self.steps += 1;
        if self.steps <= STEPS_UNDER_WAY {
            return Batch::new();
        }
        self.previous.recv().expect("the previous thread makes as many steps")
    }

    /// Frees the batches that are under way.
    pub fn leave(self) {
        let Self { next, previous, .. } = self;
        drop(next);
        previous.iter().for_each(drop);
    }
}
