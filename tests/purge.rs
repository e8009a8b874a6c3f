//! Memory comes back: after a spike of small blocks, all freed, most of it is the system's again, at
//! once and without a call for it; also where another thread frees them.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[path = "common/rss.rs"]
mod rss;

use std::thread;

use chain::Chain;
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const SPIKE: usize = 200 << 20;
const SIZES: [usize; 8] = [16, 40, 64, 104, 128, 256, 312, 512];

/// Allocates blocks of several sizes, has `free` free them, in the order of their allocation, and
/// asserts that less than a fifth of the peak stays resident.
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
    println!("{:.1} % of {peak} bytes held", held as f64 * 100.0 / peak as f64);
    assert!(peak > SPIKE);
    assert!(held < peak / 5, "{held} of {peak} bytes held");
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
