//! Threads that allocate a batch of blocks when they are asked to, and are blocked in between.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::Scope;

use crate::block::{Block, new_block, resident_slots};

const BLOCKS: usize = 60_000;
const BLOCK_BYTES: usize = 48;
pub const BATCH_BYTES: u64 = (BLOCKS * BLOCK_BYTES) as u64;

pub type Batch = Vec<Block>;

pub fn empty_batch() -> Batch {
    resident_slots(BLOCKS)
}

pub struct Worker {
    requests: SyncSender<Batch>,
    replies: Receiver<Batch>,
}

impl Worker {
    /// Starts a thread, which ends when the worker is dropped. On return it has allocated once: its stack
    /// and what an allocator keeps for each thread are there.
    pub fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> Self {
        // Channels with a bound allocate nothing later.
        let (requests, requested) = mpsc::sync_channel(1);
        let (replier, replies) = mpsc::sync_channel(1);
        scope.spawn(move || work(&requested, &replier));
        let worker = Self { requests, replies };
        drop(worker.reply());
        worker
    }

    /// Has the thread free the blocks of a batch, and then fill it with blocks of its own.
    pub fn refill(&self, batch: Batch) -> Batch {
        self.requests.send(batch).expect("a worker lives until it is dropped");
        self.reply()
    }

    fn reply(&self) -> Batch {
        self.replies.recv().expect("a worker answers each request")
    }
}

fn work(requests: &Receiver<Batch>, replies: &SyncSender<Batch>) {
    drop(new_block(1));
    let reply = |batch| replies.send(batch).expect("each request waits for its reply");
    reply(Batch::new());
    for mut batch in requests {
        batch.clear();
        batch.extend((0..BLOCKS).map(|_| new_block(BLOCK_BYTES)));
        reply(batch);
    }
}
