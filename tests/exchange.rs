//! Blocks wander between threads, and any thread resizes and frees them: through slots that all
//! share and through channels, while threads end and others take their places. A block that two
//! threads own at once, or that is handed out again while it lives, loses its stamp.

use std::alloc::Layout;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use obmalloc::Obmalloc;

#[path = "common/blocks.rs"]
mod blocks;
#[path = "common/random.rs"]
mod random;

use blocks::Block;
use random::Random;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// Threads at any one time.
const SEATS: usize = 8;
const SLOTS: usize = 400;
const STEPS_OF_A_SEAT: usize = 60_000;

/// What all threads share.
struct Exchange {
    slots: Vec<Mutex<Option<Block>>>,
    inboxes: Vec<Sender<Block>>,
    allocated: AtomicUsize,
    freed: AtomicUsize,
}

impl Exchange {
    fn new(inboxes: Vec<Sender<Block>>) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Mutex::new(None)).collect(),
            inboxes,
            allocated: AtomicUsize::new(0),
            freed: AtomicUsize::new(0),
        }
    }

    fn allocate(&self, random: &mut Random, owner: usize) -> Block {
        let (size, align) = (1 + random.below(700), 1 << random.below(7));
        let layout = Layout::from_size_align(size, align).expect("a possible layout");
        self.allocated.fetch_add(1, Ordering::Relaxed);
        Block::allocate(&GLOBAL, layout, owner)
    }

    fn free(&self, block: Block) {
        block.free(&GLOBAL);
        self.freed.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts a block into a slot, or none, and takes what was there.
    fn swap(&self, slot: usize, block: Option<Block>) -> Option<Block> {
        let mut slot = self.slots[slot].lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut slot, block)
    }

    /// One thread's life: `steps` exchanges.
    fn live(&self, owner: usize, steps: usize, inbox: &mut Receiver<Block>) {
        let mut random = Random::new(owner);
        for _ in 0..steps {
            let slot = random.below(SLOTS);
            match random.below(8) {
                0..=3 => {
                    let new = self.allocate(&mut random, owner);
                    self.swap(slot, Some(new)).into_iter().for_each(|block| self.free(block));
                }
                4 => self.swap(slot, None).into_iter().for_each(|block| self.free(block)),
                5 => {
                    if let Some(block) = self.swap(slot, None) {
                        let resized = block.resize(&GLOBAL, 1 + random.below(700));
                        let resized = resized.expect("memory for the new size");
                        self.swap(slot, Some(resized))
                            .into_iter()
                            .for_each(|block| self.free(block));
                    }
                }
                6 => {
                    let new = self.allocate(&mut random, owner);
                    let inbox = &self.inboxes[random.below(SEATS)];
                    inbox.send(new).expect("an inbox is open as long as its seat");
                }
                _ => inbox.try_iter().for_each(|block| self.free(block)),
            }
        }
    }

    /// Threads that follow each other on one seat; what they leave in their inbox is freed last.
    fn occupy(
        &self,
        seat: usize,
        steps_of_each: usize,
        mut inbox: Receiver<Block>,
    ) -> Receiver<Block> {
        for generation in 0..STEPS_OF_A_SEAT / steps_of_each {
            let owner = generation * SEATS + seat;
            let inbox = &mut inbox;
            thread::scope(|scope| {
                scope.spawn(move || self.live(owner, steps_of_each, inbox)).join()
            })
            .expect("blocks that nobody else has written to");
        }
        inbox
    }
}

#[test]
fn blocks_outlive_their_threads_and_are_freed_by_others() {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..SEATS).map(|_| mpsc::channel()).unzip();
    let exchange = Exchange::new(senders);
    let receivers: Vec<Receiver<Block>> = thread::scope(|scope| {
        let seats: Vec<_> = receivers
            .into_iter()
            .enumerate()
            .map(|(seat, inbox)| {
                // Half of the threads stay to the end, the others are replaced again and again.
                let steps_of_each = if seat % 2 == 0 { STEPS_OF_A_SEAT } else { 100 * seat };
                let exchange = &exchange;
                scope.spawn(move || exchange.occupy(seat, steps_of_each, inbox))
            })
            .collect();
        seats.into_iter().map(|seat| seat.join().expect("a seat without an error")).collect()
    });
    for inbox in receivers {
        inbox.try_iter().for_each(|block| exchange.free(block));
    }
    for slot in 0..SLOTS {
        exchange.swap(slot, None).into_iter().for_each(|block| exchange.free(block));
    }
    assert_eq!(exchange.allocated.into_inner(), exchange.freed.into_inner());
}
