//! A process with busy threads forks, and the child goes on to allocate, free and start threads.
//!
//! At the moment of the `fork` another thread may be anywhere in the allocator, and the child has a
//! copy of what it left half done, but not the thread. So the allocator closes all its locks around a
//! `fork`; without that, a child soon waits for a lock that nobody will open. It has to know of the `fork`
//! from the process's first moments on, in which its threads make their first requests.
#![cfg(target_os = "linux")]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;

use std::env;
use std::process::{Child, Command, ExitStatus, Stdio, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use chain::Chain;
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// Busy threads of each of two kinds.
const BUSY_THREADS: usize = 2;
const FORKS: usize = 150;

/// Processes that fork in their first moments, all at once, and how often each.
const FRESH_PROCESSES: usize = 100;
const FIRST_FORKS: usize = if cfg!(debug_assertions) { 1 } else { 3 };

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

/// Starts the busy threads, forks so many times while they are at work, and calls `between` after each
/// child.
fn fork_while_busy(forks: usize, between: fn()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..BUSY_THREADS {
            for busy_with in [work, work_with_pools] {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        busy_with();
                    }
                });
            }
        }
        for number in 0..forks {
            let status = fork_and_wait();
            if status != 0 {
                // Nothing is gained by waiting for more of its kind.
                eprintln!("child {number} ended with status {status:#x}");
                exit(1);
            }
            between();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn children_of_a_busy_process_allocate_and_start_threads() {
    let said = child::passes("children_of_a_busy_process_allocate_and_start_threads", || {
        fork_while_busy(FORKS, work);
        println!("{FORKS} forks");
    });
    print!("{said}");
}

#[test]
fn fresh_processes_fork_while_their_threads_start() {
    const IS_FRESH: &str = "TEST_IS_FRESH";
    /// What a process says that ran well, to show that it ran at all.
    const RAN: i32 = 17;
    if env::var_os(IS_FRESH).is_some() {
        // SAFETY: `alarm` has no conditions.
        unsafe { libc::alarm(SECONDS) };
        fork_while_busy(FIRST_FORKS, || ());
        exit(RAN);
    }
    let this_program = env::current_exe().expect("the path of this program");
    let test = "fresh_processes_fork_while_their_threads_start";
    let processes: Vec<Child> = (0..FRESH_PROCESSES)
        .map(|_| {
            let mut process = Command::new(&this_program);
            process.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(IS_FRESH, "1");
            process.stdin(Stdio::null()).stdout(Stdio::null());
            process.spawn().expect("this program can be started")
        })
        .collect();
    let bad: Vec<ExitStatus> = processes
        .into_iter()
        .map(|mut process| process.wait().expect("the process ends"))
        .filter(|status| status.code() != Some(RAN))
        .collect();
    println!("{FRESH_PROCESSES} processes with {FIRST_FORKS} forks each, {} bad", bad.len());
    assert!(bad.is_empty(), "{bad:?}");
}
