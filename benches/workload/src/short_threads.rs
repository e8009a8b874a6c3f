//! Threads that come and go, as in a program that starts one for each request: each allocates and frees a
//! few hundred blocks, and ends; its answer, some of the blocks, is freed by the main thread. What an
//! allocator sets up for a thread and tidies up after it counts here. One unit of scale is a hundred
//! threads for each of those that live at a time.

use std::collections::VecDeque;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::block::{Block, new_block};
use crate::harness::Measurement;
use crate::random::Random;

const THREADS_PER_UNIT: usize = 100;
const REPLACEMENTS: usize = 400;
const SLOTS: usize = 64;
const ANSWER: usize = 16;

pub fn run(threads_at_a_time: usize, scale: u32) -> Measurement {
    let threads = scale as usize * THREADS_PER_UNIT * threads_at_a_time;
    let start = Instant::now();
    let mut running = VecDeque::with_capacity(threads_at_a_time);
    let mut checksum = 0;
    for stream in 0..threads {
        if running.len() == threads_at_a_time
            && let Some(oldest) = running.pop_front()
        {
            checksum += answer_bytes(oldest);
        }
        running.push_back(thread::spawn(move || serve(Random::new(stream))));
    }
    checksum += running.into_iter().map(answer_bytes).sum::<u64>();
    let operations = Some((threads * (SLOTS + REPLACEMENTS)) as u64);
    Measurement { elapsed: start.elapsed(), operations, checksum, held: None }
}

fn answer_bytes(thread: JoinHandle<Vec<Block>>) -> u64 {
    let answer = thread.join().expect("a thread that serves does not panic");
    answer.iter().map(|block| block.len() as u64).sum()
}

fn serve(mut random: Random) -> Vec<Block> {
    let mut slots: Vec<Block> = (0..SLOTS).map(|_| new_block(random.within(8..=256))).collect();
    for _ in 0..REPLACEMENTS {
        let slot = random.below(SLOTS);
        slots[slot] = new_block(random.within(8..=256));
    }
    slots.truncate(ANSWER);
    slots
}
