//! Memory comes back: after a spike of small blocks, all freed, it is the system's again without a call
//! for it, most of it at once and the rest in a moment of light activity; also where another thread
//! frees them.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[path = "common/noted.rs"]
mod noted;
#[path = "common/random.rs"]
mod random;
#[path = "common/rss.rs"]
mod rss;

use std::thread;
use std::time::Duration;

use chain::Chain;
use noted::noted_bytes;
use obmalloc::Obmalloc;
use random::Random;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const SPIKE: usize = 200 << 20;
const SIZES: [usize; 8] = [16, 40, 64, 104, 128, 256, 312, 512];

/// What a program does that has nothing much to do: for half a second, it allocates a few blocks now and
/// then, and frees them.
fn light_activity() {
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(10));
        let mut chain = Chain::new(64);
        assert!((0..1000).all(|_| chain.push()));
    }
}

/// Allocates blocks of several sizes, has `free` free them, in the order of their allocation, and
/// asserts that of the peak at most two fifths stay resident, and a twentieth after a moment.
fn spike(free: fn([Chain; SIZES.len()])) {
    let mut chains = SIZES.map(Chain::new);
    let mut bytes = 0;
    while bytes < SPIKE {
        // The sizes alternate by the pool, so that each arena has pools of all.
        for (chain, size) in chains.iter_mut().zip(SIZES) {
            for _ in 0..4096 / size {
                assert!(chain.push());
                bytes += size;
            }
        }
    }
    let peak = rss::resident_bytes();
    free(chains);
    let held = rss::resident_bytes();
    light_activity();
    let held_later = rss::resident_bytes();
    let percent = |bytes: usize| bytes as f64 * 100.0 / peak as f64;
    println!("of {peak} bytes {:.1} % held, later {:.1} %", percent(held), percent(held_later));
    assert!(peak > SPIKE);
    assert!(held < peak * 2 / 5, "{held} of {peak} bytes held");
    assert!(held_later < peak / 20 + noted_bytes(peak), "{held_later} of {peak} bytes held");
}

/// Frees the first block of each chain in turn.
fn free_in_turn(mut chains: [Chain; SIZES.len()]) {
    let mut freed = true;
    while freed {
        freed = false;
        for chain in &mut chains {
            freed |= chain.free_first();
        }
    }
}

#[test]
fn a_spike_comes_back() {
    print!("{}", child::passes("a_spike_comes_back", || spike(free_in_turn)));
}

#[test]
fn a_spike_comes_back_class_by_class() {
    print!("{}", child::passes("a_spike_comes_back_class_by_class", || spike(drop)));
}

#[test]
fn a_spike_comes_back_that_another_thread_frees() {
    let said = child::passes("a_spike_comes_back_that_another_thread_frees", || {
        spike(|chains| {
            let freed = thread::spawn(|| free_in_turn(chains)).join();
            freed.expect("the thread does not panic");
        });
    });
    print!("{said}");
}

/// The thread that frees lives on, and so do the blocks in its cache.
#[test]
fn a_spike_comes_back_while_the_thread_that_frees_lives_on() {
    let said = child::passes("a_spike_comes_back_while_the_thread_that_frees_lives_on", || {
        spike(|chains| {
            let (tell, told) = std::sync::mpsc::channel();
            thread::spawn(move || {
                free_in_turn(chains);
                tell.send(()).expect("someone listens");
                loop {
                    thread::park();
                }
            });
            told.recv().expect("the thread does not panic");
        });
    });
    print!("{said}");
}

/// What caches hold of a spike that was freed in no order, and what is allocated of that later, would else keep half as
/// many pages again as the blocks that are kept: each lies alone in its pool.
#[test]
fn where_few_blocks_are_kept_little_more_than_their_pages_stays() {
    const BLOCKS: usize = 800_000;
    const BLOCKS_PER_KEPT: usize = 1_000;
    let said =
        child::passes("where_few_blocks_are_kept_little_more_than_their_pages_stays", || {
            let mut random = Random::new(0);
            let mut new_block = || vec![0_u8; 1 + random.below(512)].into_boxed_slice();
            let mut blocks: Vec<_> = (0..BLOCKS).map(|_| new_block()).collect();
            let mut order = Random::new(1);
            (1..BLOCKS).for_each(|place| blocks.swap(place, order.below(place + 1)));
            blocks.truncate(BLOCKS / BLOCKS_PER_KEPT);
            // Two seconds of light activity, at whose end none of the blocks is there that were allocated first.
            let mut recent = std::collections::VecDeque::new();
            for _ in 0..200 {
                thread::sleep(Duration::from_millis(10));
                recent.extend((0..100).map(|_| new_block()));
                recent.drain(..recent.len().saturating_sub(500));
            }
            let stats = GLOBAL.stats();
            let pools: usize = stats.classes.iter().map(|class| class.pools).sum();
            let resident = stats.arenas.unused_pools - stats.arenas.unused_pools_purged;
            println!("{} blocks in {pools} pools, {resident} more resident", blocks.len());
            assert!(pools < blocks.len() * 5 / 4, "{pools} pools for {} blocks", blocks.len());
            assert!(resident < 2 << 8, "{resident} free pools are resident");
        });
    print!("{said}");
}
