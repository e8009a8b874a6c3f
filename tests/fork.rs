//! A process with busy threads forks, and the child goes on to allocate, free and start threads.
//!
//! At the moment of the `fork` another thread may be anywhere in the allocator, and the child has a
//! copy of what it left half done, but not the thread. So the allocator closes all its locks around a
//! `fork`; without that, a child soon waits for a lock that nobody will open.
#![cfg(target_os = "linux")]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use chain::Chain;
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// Busy threads of each of two kinds.
const BUSY_THREADS: usize = 2;
const FORKS: usize = 120;

/// Time that a forked process has, far above what it needs.
const SECONDS: u32 = 60;

/// Allocates and frees in all classes, more of each than a thread's cache holds, so that all locks of
/// the heap are needed; and some large blocks.
fn work() {
    const BYTES: usize = 3 * 8 * 1024;
    let mut before: Option<Chain> = None;
    for size in (8..=512).step_by(8).chain([600, 5_000]) {
        let mut chain = Chain::new(size);
        for _ in 0..(BYTES / size).clamp(48, 384) {
            assert!(chain.push());
        }
        // The blocks of one class are freed while those of the next are in use.
        before = Some(chain);
    }
    drop(before);
}

/// Allocates and frees so many of the largest blocks that whole pools and arenas come and go.
fn work_with_pools() {
    let mut chain = Chain::new(512);
    for _ in 0..2_000 {
        assert!(chain.push());
    }
}

/// What a forked process does. It leaves without the handlers of the process that it is a copy of.
fn live_and_exit() -> ! {
    // SAFETY: `alarm` has no conditions.
    unsafe { libc::alarm(SECONDS) };
    work();
    work_with_pools();
    let numbers = thread::spawn(|| {
        work();
        (0..1000).map(|number| number.to_string()).collect::<Vec<String>>()
    });
    let good = numbers.join().is_ok_and(|numbers| numbers[999] == "999");
    // SAFETY: `_exit` has no conditions.
    unsafe { libc::_exit(if good { 0 } else { 1 }) };
}

/// Forks, waits for the child, and returns its status.
fn fork_and_wait() -> i32 {
    // SAFETY: the child calls nothing but the allocator and what the C library keeps usable in the
    // child of a process with threads.
    let forked = unsafe { libc::fork() };
    match forked {
        -1 => panic!("the system forks"),
        0 => live_and_exit(),
        _ => {}
    }
    let mut status = 0;
    // SAFETY: the status is valid for writes.
    let waited = unsafe { libc::waitpid(forked, &mut status, 0) };
    assert_eq!(waited, forked);
    status
}

#[test]
fn children_of_a_busy_process_allocate_and_start_threads() {
    child::passes("children_of_a_busy_process_allocate_and_start_threads", || {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..BUSY_THREADS {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        work();
                    }
                });
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        work_with_pools();
                    }
                });
            }
            for number in 0..FORKS {
                let status = fork_and_wait();
                if status != 0 {
                    // Nothing is gained by waiting for more of its kind.
                    eprintln!("child {number} ended with status {status:#x}");
                    std::process::exit(1);
                }
                work();
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}
