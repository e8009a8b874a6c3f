//! The stress test of mimalloc (Leijen, Zorn and de Moura, 2019), known as mstress: the threads of a server
//! allocate chains of items, most of them small and a few large, free random ones soon, keep some to
//! their end, and exchange some through an array that all threads share, so that another thread frees them;
//! then all threads end, and new ones start. One unit of scale is one generation of threads.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::harness::Measurement;
use crate::parallel;
use crate::random::Random;

const STEPS: usize = 10_000;
const EXCHANGE_SLOTS: usize = 1_000;
const MOST_DOUBLINGS: usize = 6;
const LARGE_FACTOR: usize = 32;

type Chain = Option<Box<Item>>;

struct Item {
    words: Box<[u64]>,
    next: Chain,
}

/// A swap is all that happens under a lock, and slots are many: threads hardly ever meet at one.
type Exchange = [Mutex<Chain>];

pub fn run(threads: usize, generations: u32) -> Measurement {
    let exchange: Vec<_> = (0..EXCHANGE_SLOTS).map(|_| Mutex::new(None)).collect();
    let start = Instant::now();
    let mut checksum = 0_u64;
    for generation in 0..generations as usize {
        let first_stream = generation * threads;
        let freed =
            parallel::sum(threads, |thread| serve(Random::new(first_stream + thread), &exchange));
        checksum = checksum.wrapping_add(freed);
    }
    // Who frees an item is a matter of timing; that each is freed once, and unharmed, is not.
    for slot in exchange {
        let chain = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        checksum = checksum.wrapping_add(digest(chain));
    }
    let operations = threads as u64 * u64::from(generations) * STEPS as u64;
    Measurement { elapsed: start.elapsed(), operations: Some(operations), checksum, held: None }
}

/// The digest of all that was freed. What is in the slots of others decides nothing that is done here.
fn serve(mut random: Random, exchange: &Exchange) -> u64 {
    let mut digests = 0_u64;
    let mut free = |chain: Chain| digests = digests.wrapping_add(digest(chain));
    let mut kept = Vec::new();
    let mut current: Vec<Chain> = Vec::new();
    for _ in 0..STEPS {
        if random.below(3) == 0 {
            kept.push(new_chain(&mut random, 1));
        } else {
            let length = random.within(1..=3);
            current.push(new_chain(&mut random, length));
        }
        if current.is_empty() {
            continue;
        }
        if random.below(3) < 2 {
            let place = random.below(current.len());
            free(current[place].take());
        }
        if random.below(4) == 0 {
            let place = random.below(current.len());
            swap(&mut current[place], &exchange[random.below(EXCHANGE_SLOTS)]);
        }
    }
    current.into_iter().chain(kept).for_each(&mut free);
    digests
}

fn swap(chain: &mut Chain, slot: &Mutex<Chain>) {
    mem::swap(chain, &mut slot.lock().unwrap_or_else(PoisonError::into_inner));
}

fn new_chain(random: &mut Random, length: usize) -> Chain {
    (0..length).fold(None, |next, _| Some(Box::new(Item { words: words(random), next })))
}

/// 8 to 256 bytes, of which the smaller sizes are as likely as the larger ones; one in a hundred is large.
fn words(random: &mut Random) -> Box<[u64]> {
    let count = 1 << random.below(MOST_DOUBLINGS);
    let factor = if random.below(100) == 0 { LARGE_FACTOR } else { 1 };
    vec![random.next(); count * factor].into_boxed_slice()
}

/// Frees a chain, item by item.
fn digest(mut chain: Chain) -> u64 {
    let mut digest = 0_u64;
    while let Some(item) = chain {
        let last = item.words.len() - 1;
        digest = digest.wrapping_add(item.words[0] ^ item.words[last].rotate_left(1));
        chain = item.next;
    }
    digest
}
