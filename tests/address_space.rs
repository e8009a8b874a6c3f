//! A process that has little address space from its very first moment on: the limit is set before the program
//! is loaded. It is handed out nearly to the last byte; then there are nulls, and nothing else happens.
//!
//! Under the limit numbers are gathered; it is lifted before they are checked, so that a check that fails
//! can say so.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[expect(dead_code, reason = "the limit is there from the start")]
#[path = "common/limit.rs"]
mod limit;
#[path = "common/percent.rs"]
mod percent;
#[path = "common/random.rs"]
mod random;

use std::alloc::{GlobalAlloc, Layout};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::{env, mem};

use chain::Chain;
use obmalloc::Obmalloc;
use percent::assert_percent;
use random::Random;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// The address space of the process, with its program and libraries; half of it where each operation takes longer.
const LIMIT: u64 = if cfg!(debug_assertions) { 128 << 20 } else { 256 << 20 };

/// Set in the environment of a process that has the limit.
const IS_LIMITED: &str = "TEST_IS_LIMITED";

/// Has this process start anew under the limit, unless it has. Returns the bytes that are left to it.
fn under_limit() -> usize {
    if env::var_os(IS_LIMITED).is_none() {
        let this_program = env::current_exe().expect("the path of this program");
        let mut again = Command::new(this_program);
        again.args(env::args_os().skip(1)).env(IS_LIMITED, "1");
        limit::set(|_| LIMIT);
        panic!("this program cannot be started: {}", again.exec());
    }
    (LIMIT - limit::mapped_bytes()) as usize
}

/// What a process with blocks of one size has seen.
struct Seen {
    had: usize,
    freed: usize,
    had_again: usize,
    /// Requests beyond the first null that were served after all.
    served_late: usize,
}

/// Allocates until null, frees half of the blocks at random, and allocates as many again.
fn fill_and_free_half(size: usize) -> Seen {
    let mut random = Random::new(size);
    let (mut kept, mut freed) = (Chain::new(size), Chain::new(size));
    let mut seen = Seen { had: 0, freed: 0, had_again: 0, served_late: 0 };
    loop {
        let stays = random.below(2) == 0;
        if !(if stays { kept.push() } else { freed.push() }) {
            break;
        }
        seen.had += 1;
        seen.freed += usize::from(!stays);
    }
    seen.served_late = (0..1_000).filter(|_| kept.push()).count();
    while freed.free_first() {}
    while seen.had_again < seen.freed && freed.push() {
        seen.had_again += 1;
    }
    seen
}

fn live_with(size: usize) {
    let left = under_limit();
    let seen = fill_and_free_half(size);
    limit::lift();
    println!("{} MiB of {} are left at the start", left >> 20, LIMIT >> 20);
    assert_percent(&format!("blocks of {size} bytes"), seen.had * size, left, 90);
    assert_percent("freed at random, and had again", seen.had_again, seen.freed, 95);
    assert!(seen.freed > seen.had / 3);
    assert_eq!(seen.served_late, 0, "served after a null");
    // More than there was.
    let mut chain = Chain::new(size);
    let more = left / 4 * 5 / size;
    assert!((0..more).all(|_| chain.push()), "the limit is lifted");
}

#[test]
fn blocks_of_16_bytes_use_up_what_there_is() {
    print!("{}", child::passes("blocks_of_16_bytes_use_up_what_there_is", || live_with(16)));
}

#[test]
fn blocks_of_64_bytes_use_up_what_there_is() {
    print!("{}", child::passes("blocks_of_64_bytes_use_up_what_there_is", || live_with(64)));
}

#[test]
fn blocks_of_512_bytes_use_up_what_there_is() {
    print!("{}", child::passes("blocks_of_512_bytes_use_up_what_there_is", || live_with(512)));
}

#[test]
fn blocks_of_4096_bytes_use_up_what_there_is() {
    print!("{}", child::passes("blocks_of_4096_bytes_use_up_what_there_is", || live_with(4096)));
}

/// Of what is left under the limit, so much is small blocks before large ones use up the rest.
const SMALL_BYTES: usize = 64 << 20;

/// With nothing left at all, each request of each kind is null, and what is in use stays as it is.
#[test]
fn with_nothing_left_each_request_is_null() {
    let said = child::passes("with_nothing_left_each_request_is_null", || {
        under_limit();
        let sizes = [512, 8_192].into_iter().chain((8..=512).step_by(8));
        let mut chains: Vec<Chain> = sizes.map(Chain::new).collect();
        assert!((0..SMALL_BYTES / 512).all(|_| chains[0].push()));
        for chain in &mut chains[1..] {
            while chain.push() {}
        }
        let small = (8..=512).step_by(8).flat_map(|size| [8, 16, 64].map(|align| (size, align)));
        let large = [100_000, 10 << 20].into_iter().flat_map(|size| [(size, 16), (size, 4_096)]);
        let (mut requests, mut served) = (0, 0);
        for (size, align) in small.chain(large) {
            let layout = Layout::from_size_align(size, align).expect("a layout");
            // SAFETY: the size is not zero.
            let block = unsafe { GLOBAL.alloc(layout) };
            // SAFETY: as above.
            let zeroed = unsafe { GLOBAL.alloc_zeroed(layout) };
            requests += 2;
            served += usize::from(!block.is_null()) + usize::from(!zeroed.is_null());
        }
        limit::lift();
        println!("{served} of {requests} requests were served");
        assert_eq!(served, 0);
        // Checks the stamps of the blocks, too.
        drop(chains);
    });
    print!("{said}");
}

#[test]
fn a_box_that_cannot_be_made_aborts_once() {
    let ended = child::run("a_box_that_cannot_be_made_aborts_once", || {
        under_limit();
        loop {
            mem::forget(Box::new([1_u64; 9]));
        }
    });
    assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.status);
    let message = "memory allocation of 72 bytes failed";
    assert_eq!(ended.stderr.matches(message).count(), 1, "{}", ended.stderr);
    println!("{}", ended.stderr.trim());
}
