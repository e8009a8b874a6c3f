//! Panics that unwind through frames with blocks in use: each is freed once, and nothing is lost.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/child.rs"]
mod child;
#[path = "common/rss.rs"]
mod rss;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const ROUNDS: usize = 20_000;
const THREADS: usize = 2;
const FRAMES: usize = 4;

static DROPS: AtomicUsize = AtomicUsize::new(0);

/// Allocates when it is dropped, in the midst of an unwind.
struct Counts(Box<usize>);

impl Drop for Counts {
    fn drop(&mut self) {
        let text = format!("frame {}", self.0);
        assert!(text.ends_with(char::is_numeric));
        DROPS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Holds blocks of many sizes in each of so many frames, and panics in the innermost.
fn hold_and_unwind(number: usize, frames: usize) {
    let counts = Counts(Box::new(frames));
    let bytes = vec![7_u8; 1 + number * 37 % 700];
    let mut numbers = Vec::new();
    (0..number % 90).for_each(|more| numbers.push(more));
    let texts: Vec<String> = (0..number % 9).map(|text| text.to_string()).collect();
    let map: BTreeMap<usize, Box<[u64; 3]>> =
        (0..8).map(|key| (key, Box::new([key as u64; 3]))).collect();
    if frames == 1 {
        panic_any(vec![number; 1 + number % 60]);
    }
    hold_and_unwind(number, frames - 1);
    unreachable!("{} {bytes:?} {numbers:?} {texts:?} {map:?}", counts.0);
}

/// Catches the panic, holding blocks of its own, and has it go on once more in each other round.
fn round(number: usize) {
    let held: Vec<usize> = (0..20).map(|more| number + more).collect();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let caught = catch_unwind(|| hold_and_unwind(number, FRAMES)).expect_err("a panic");
        if number.is_multiple_of(2) {
            resume_unwind(caught);
        }
        caught
    }));
    let (Ok(payload) | Err(payload)) = caught;
    let payload = payload.downcast::<Vec<usize>>().expect("what was thrown");
    assert!(payload.len() == 1 + number % 60 && payload.iter().all(|found| *found == number));
    assert!(held.iter().copied().eq(number..number + 20));
}

fn rounds(count: usize) {
    let threads =
        [(); THREADS].map(|()| thread::spawn(move || (0..count / THREADS).for_each(round)));
    // A join, other than the end of a scope, waits for all of the thread's end.
    for thread in threads {
        thread.join().expect("each panic is caught");
    }
}

#[test]
fn what_is_held_across_an_unwind_is_freed_once() {
    let said = child::passes("what_is_held_across_an_unwind_is_freed_once", || {
        panic::set_hook(Box::new(|_| ()));
        rounds(ROUNDS / 10);
        GLOBAL.trim();
        let in_use = || GLOBAL.stats().used_bytes();
        let (resident_before, in_use_before) = (rss::resident_bytes(), in_use());
        let drops_before = DROPS.load(Ordering::Relaxed);
        rounds(ROUNDS);
        GLOBAL.trim();
        let drops = DROPS.load(Ordering::Relaxed) - drops_before;
        let growth = rss::resident_bytes().saturating_sub(resident_before);
        let lost = in_use().saturating_sub(in_use_before);
        println!("{growth} bytes of growth, {lost} bytes more in use after {ROUNDS} rounds");
        assert_eq!(drops, ROUNDS * FRAMES);
        // Less than a block for each hundred rounds.
        assert!(lost < ROUNDS / 100 * 8, "{lost} bytes are lost");
        assert!(growth <= 256 << 10, "{growth} bytes of growth");
    });
    print!("{said}");
}
