//! Blocks that are freed by another thread than the one that allocated them.
//!
//! A thread that only frees needs no memory for it: no mapping, no block, no heap of its own. And
//! what it frees is used again, also when the thread that allocated it has ended.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[path = "common/rss.rs"]
mod rss;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use chain::Chain;
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const SIZES: [usize; 8] = [8, 24, 40, 64, 120, 200, 328, 512];

/// Chains of all sizes, of `bytes` bytes together.
fn chains(bytes: usize) -> Vec<Chain> {
    let of_each = bytes / SIZES.len();
    SIZES
        .iter()
        .map(|size| {
            let mut chain = Chain::new(*size);
            for _ in 0..of_each / size {
                assert!(chain.push());
            }
            chain
        })
        .collect()
}

/// The address space that the process uses, in pages; read without an allocation.
fn mapped_pages(statm: &File) -> usize {
    let mut text = [0_u8; 64];
    let length = statm.read_at(&mut text, 0).expect("the file can be read again");
    let digits = text[..length].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// Frees the blocks of all chains, and asserts after each that no memory was mapped for it.
/// The chains themselves are left as they are, empty.
fn free_and_map_nothing(chains: &mut [Chain]) {
    let statm = File::open("/proc/self/statm").expect("/proc is mounted");
    let mut least = mapped_pages(&statm);
    for chain in chains {
        while chain.free_first() {
            let now = mapped_pages(&statm);
            assert!(now <= least, "{} pages mapped while freeing", now - least);
            least = now;
        }
    }
}

#[test]
fn a_thread_that_only_frees_maps_nothing() {
    child::passes("a_thread_that_only_frees_maps_nothing", || {
        const BYTES: usize = 16 << 20;
        let mut chains = chains(BYTES);
        let in_use = rss::resident_bytes();
        let freed = thread::spawn(move || {
            free_and_map_nothing(&mut chains);
            // At least the reserve, of 4 MiB, is there until then; how much more depends on the clock.
            assert!(GLOBAL.trim() > 2 << 20);
            rss::resident_bytes()
        });
        let freed = freed.join().expect("the thread does not panic");
        assert!(freed < in_use - BYTES / 2, "{in_use} bytes resident before, {freed} after");
    });
}

const GROWTH_MAX: usize = 1 << 20;

/// Runs `round` so many times, until the heap has its size, then as often again; asserts that the
/// process has not grown in the second half.
fn assert_no_growth(rounds: usize, mut round: impl FnMut()) {
    let mut resident_after_rounds = || {
        for _ in 0..rounds {
            round();
        }
        rss::resident_bytes()
    };
    let before = resident_after_rounds();
    let growth = resident_after_rounds().saturating_sub(before);
    println!("{growth} bytes of growth");
    assert!(growth <= GROWTH_MAX, "{growth} bytes of growth");
}

#[test]
fn blocks_freed_by_another_thread_are_used_again() {
    let said = child::passes("blocks_freed_by_another_thread_are_used_again", || {
        let (give, taken): (Sender<Vec<Chain>>, Receiver<Vec<Chain>>) = channel();
        let (tell, told) = channel();
        thread::spawn(move || {
            for chains in taken {
                drop(chains);
                tell.send(()).expect("someone listens");
            }
        });
        assert_no_growth(20, || {
            give.send(chains(8 << 20)).expect("someone listens");
            told.recv().expect("the other thread frees");
        });
    });
    print!("{said}");
}

#[test]
fn blocks_of_threads_that_have_ended_are_used_again() {
    let said = child::passes("blocks_of_threads_that_have_ended_are_used_again", || {
        // Many rounds: what two threads forget to give back is little, but would add up.
        assert_no_growth(400, || {
            let blocks = thread::spawn(|| chains(256 << 10)).join();
            let blocks = blocks.expect("the thread does not panic");
            let freed = thread::spawn(move || drop(blocks)).join();
            freed.expect("the thread does not panic");
        });
    });
    print!("{said}");
}
