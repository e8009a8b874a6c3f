//! The thread that gives back what an idle program does not need: it comes when there is something to
//! give back, also in a forked child, and goes when there is nothing left.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[path = "common/noted.rs"]
mod noted;
#[path = "common/rss.rs"]
mod rss;

use std::fs;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use chain::Chain;
use noted::noted_bytes;
use obmalloc::Obmalloc;

const AFTER: Duration = Duration::from_millis(20);
const SPIKE: usize = 48 << 20;

/// What may stay of it.
const LEFT: usize = SPIKE / 50 + noted_bytes(SPIKE);

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new().with_background_purge(AFTER);

/// Far above what any wait here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("/proc is mounted").count()
}

/// Waits without allocating until `holds` does.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(3 * AFTER);
    }
}

/// A spike that comes back while the program does nothing.
fn spike() {
    let before = rss::resident_bytes();
    let mut chain = Chain::new(96);
    (0..SPIKE / 96).for_each(|_| assert!(chain.push()));
    assert!(rss::resident_bytes() - before > SPIKE * 9 / 10);
    drop(chain);
    wait_until("memory comes back", || rss::resident_bytes().saturating_sub(before) < LEFT);
}

#[test]
fn an_idle_program_holds_nothing_and_the_thread_goes() {
    child::passes("an_idle_program_holds_nothing_and_the_thread_goes", || {
        assert_eq!(GLOBAL.config().background_purge(), Some(AFTER));
        let threads_before = threads();
        for _ in 0..3 {
            spike();
            wait_until("the thread goes", || threads() == threads_before);
        }
    });
}

/// What their caches gave back when they ended, nobody else would look at.
#[test]
fn what_threads_leave_when_they_end_comes_back() {
    child::passes("what_threads_leave_when_they_end_comes_back", || {
        const THREADS: usize = 100;
        let work = || {
            for size in (8..=512).step_by(8) {
                let mut chain = Chain::new(size);
                (0..32).for_each(|_| assert!(chain.push()));
            }
        };
        thread::spawn(work).join().expect("no panic");
        GLOBAL.trim();
        let before = rss::resident_bytes();
        let barrier = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                thread::spawn(move || {
                    work();
                    // All have full caches at once.
                    barrier.wait();
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        wait_until("memory comes back", || rss::resident_bytes().saturating_sub(before) < 8 << 20);
    });
}

#[test]
fn a_forked_child_has_a_thread_of_its_own() {
    child::passes("a_forked_child_has_a_thread_of_its_own", || {
        // While the parent's thread is there, and is not the child's.
        let mut chain = Chain::new(96);
        (0..SPIKE / 96).for_each(|_| assert!(chain.push()));
        drop(chain);
        // SAFETY: the child allocates and starts threads, which this allocator allows.
        let child = unsafe { libc::fork() };
        assert_ne!(child, -1);
        if child == 0 {
            // SAFETY: `alarm` has no conditions.
            unsafe { libc::alarm(60) };
            GLOBAL.trim();
            spike();
            // SAFETY: `_exit` has no conditions.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid for the write.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status:#x}");
    });
}

/// The process may have no more threads than it has: all goes on without one.
#[test]
fn without_threads_the_program_goes_on() {
    child::passes("without_threads_the_program_goes_on", || {
        let no_more = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the limit is valid for the read.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &no_more) }, 0);
        // The superuser is not bound by it.
        let bound = thread::Builder::new().spawn(|| ()).is_err();
        println!("bound: {bound}");
        for _ in 0..3 {
            let mut chain = Chain::new(96);
            (0..SPIKE / 96).for_each(|_| assert!(chain.push()));
        }
        GLOBAL.trim();
    });
}
