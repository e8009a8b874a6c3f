//! The allocator serves whoever asks, from before `main` to the last handler of the process: code in
//! `.init_array`, destructors of thread-locals and of pthread keys in any order and as often as they
//! ask to run again, `atexit` handlers, `.fini_array`, and threads that run while all that goes on.
//!
//! The allocator uses a pthread key of its own to flush a thread's cache. One key of this file is made
//! before that, and one after; both ask for all rounds of destructors that the system offers. So in
//! whichever round the flush comes, there is a destructor right before it and one right behind it.
#![cfg(target_os = "linux")]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[cfg(not(obmalloc_no_arenas))]
#[path = "common/rss.rs"]
mod rss;

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::process::exit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, OnceLock};
use std::thread;

use chain::Chain;
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

type Destructor = unsafe extern "C" fn(*mut c_void);

/// A pthread key; its values count the rounds of destructors.
struct Key(libc::pthread_key_t);

impl Key {
    fn new(destructor: Destructor) -> Self {
        let mut key = 0;
        // SAFETY: the key is valid for writes, and the destructor is a function of this program.
        assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(destructor)) }, 0);
        Self(key)
    }

    /// Has the destructor called at the end of this thread, or, in a destructor, in the next round.
    fn arm(&self, round: usize) {
        // SAFETY: the key is never deleted; its values are never dereferenced.
        let set = unsafe { libc::pthread_setspecific(self.0, ptr::without_provenance(round)) };
        assert_eq!(set, 0);
    }
}

static MADE_BEFORE_THE_ALLOCATORS: OnceLock<Key> = OnceLock::new();
static MADE_AFTER_THE_ALLOCATORS: OnceLock<Key> = OnceLock::new();
static DESTRUCTIONS_BEFORE: AtomicUsize = AtomicUsize::new(0);
static DESTRUCTIONS_AFTER: AtomicUsize = AtomicUsize::new(0);
static DROPS: AtomicUsize = AtomicUsize::new(0);

/// Whether this process is to say that its handlers have run.
static SAYS: AtomicBool = AtomicBool::new(false);

/// Blocks on their way from one thread to another, first in, first out.
static SHARED: Mutex<VecDeque<Box<[u64; 6]>>> = Mutex::new(VecDeque::new());
const ON_THEIR_WAY: usize = 100;

/// What was allocated before `main`: a small block and a large one.
static FROM_BEFORE_MAIN: Mutex<Option<(Box<u64>, Vec<u8>)>> = Mutex::new(None);

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    MADE_BEFORE_THE_ALLOCATORS.get_or_init(|| Key::new(destruct_before));
    work();
    let kept = (Box::new(4711), vec![42; 5000]);
    *FROM_BEFORE_MAIN.lock().expect("no thread has panicked") = Some(kept);
}

#[used]
#[unsafe(link_section = ".fini_array")]
static AT_THE_VERY_END: extern "C" fn() = at_the_very_end;

extern "C" fn at_the_very_end() {
    work();
    say("fini_array has run\n");
}

extern "C" fn at_exit() {
    work();
    say("atexit has run\n");
}

/// Writes to stdout, in a process that is to show it, without the standard library, which may have
/// ended its own part.
fn say(text: &str) {
    if SAYS.load(Ordering::Relaxed) {
        // SAFETY: the text is valid for reads of its length.
        unsafe { libc::write(libc::STDOUT_FILENO, text.as_ptr().cast(), text.len()) };
    }
}

fn filled(size: usize, blocks: usize) -> Chain {
    let mut chain = Chain::new(size);
    for _ in 0..blocks {
        assert!(chain.push());
    }
    chain
}

/// Allocates and frees blocks of several classes and a large one, frees a block of another thread,
/// and leaves one for another.
fn work() {
    let chains = [8, 48, 104, 512, 600].map(|size| filled(size, 40));
    let mut shared = SHARED.lock().expect("no thread has panicked");
    let foreign = if shared.len() < ON_THEIR_WAY { None } else { shared.pop_front() };
    shared.push_back(Box::new([7; 6]));
    drop(shared);
    assert!(foreign.is_none_or(|block| *block == [7; 6]));
    drop(chains);
}

unsafe extern "C" fn destruct_before(round: *mut c_void) {
    work();
    DESTRUCTIONS_BEFORE.fetch_add(1, Ordering::Relaxed);
    MADE_BEFORE_THE_ALLOCATORS.get().expect("made").arm(round.addr() + 1);
}

unsafe extern "C" fn destruct_after(round: *mut c_void) {
    work();
    DESTRUCTIONS_AFTER.fetch_add(1, Ordering::Relaxed);
    MADE_AFTER_THE_ALLOCATORS.get().expect("made").arm(round.addr() + 1);
}

struct WorksWhenDropped(Cell<Option<Box<u32>>>);

impl Drop for WorksWhenDropped {
    fn drop(&mut self) {
        work();
        assert!(self.0.take().is_some());
        DROPS.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static LOCAL: WorksWhenDropped = const { WorksWhenDropped(Cell::new(None)) };
}

/// How often the system calls the destructor of a key that is set again each time.
fn destructor_rounds() -> usize {
    // SAFETY: `sysconf` has no conditions.
    unsafe { libc::sysconf(libc::_SC_THREAD_DESTRUCTOR_ITERATIONS) as usize }
}

/// Sees to it that all destructors of this file run when this thread ends.
fn arm_all_destructors() {
    LOCAL.with(|local| local.0.set(Some(Box::new(1))));
    MADE_BEFORE_THE_ALLOCATORS.get().expect("made before main").arm(1);
    MADE_AFTER_THE_ALLOCATORS.get_or_init(|| Key::new(destruct_after)).arm(1);
}

#[test]
fn blocks_allocated_before_main_live_on() {
    let kept = FROM_BEFORE_MAIN.lock().expect("no thread has panicked").take();
    let (small, large) = kept.expect("the function in .init_array has run");
    assert_eq!(*small, 4711);
    assert_eq!(large, [42; 5000]);
}

#[test]
fn destructors_in_any_order_allocate_and_free() {
    const WARM_UP: usize = 500;
    const THREADS: usize = 2_000;
    const AT_ONCE: usize = 20;

    fn end_threads(threads: usize) {
        // All are there at once, so that the warm-up has seen as many stacks as will ever be used.
        static ALL_WORK: Barrier = Barrier::new(AT_ONCE);
        for _ in 0..threads / AT_ONCE {
            let threads = [(); AT_ONCE].map(|()| {
                thread::spawn(|| {
                    arm_all_destructors();
                    work();
                    ALL_WORK.wait();
                })
            });
            // A join, other than the end of a scope, waits for the destructors.
            for thread in threads {
                thread.join().expect("the thread does not panic");
            }
        }
    }

    let said = child::passes("destructors_in_any_order_allocate_and_free", || {
        end_threads(WARM_UP);
        #[cfg(not(obmalloc_no_arenas))]
        let before = rss::resident_bytes();
        end_threads(THREADS);
        #[cfg(not(obmalloc_no_arenas))]
        {
            let growth = rss::resident_bytes().saturating_sub(before);
            println!("{growth} bytes of growth");
            assert!(growth <= 1 << 20, "{growth} bytes of growth");
        }
        let before = MADE_BEFORE_THE_ALLOCATORS.get().expect("made").0;
        let after = MADE_AFTER_THE_ALLOCATORS.get().expect("made").0;
        assert!(!cfg!(target_env = "gnu") || before < after, "this system's keys run in order");
        let ended = WARM_UP + THREADS;
        assert_eq!(DROPS.load(Ordering::Relaxed), ended);
        assert_eq!(DESTRUCTIONS_BEFORE.load(Ordering::Relaxed), ended * destructor_rounds());
        assert_eq!(DESTRUCTIONS_AFTER.load(Ordering::Relaxed), ended * destructor_rounds());
    });
    print!("{said}");
}

/// Has the handlers of the process's end run, and say so.
fn register_at_exit() {
    SAYS.store(true, Ordering::Relaxed);
    // SAFETY: the handler is a function of this program.
    assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
}

#[track_caller]
fn assert_handlers_ran(said: &str) {
    assert!(said.contains("atexit has run"), "{said}");
    assert!(said.contains("fini_array has run"), "{said}");
}

#[test]
fn handlers_of_the_end_of_the_process_allocate_and_free() {
    let said = child::passes("handlers_of_the_end_of_the_process_allocate_and_free", || {
        register_at_exit();
        arm_all_destructors();
        thread::spawn(work).join().expect("the thread does not panic");
    });
    assert_handlers_ran(&said);
}

/// The process ends in a thread whose cache has been flushed for good, so that the handlers find it
/// in that state.
#[test]
fn handlers_allocate_and_free_in_a_thread_at_its_end() {
    unsafe extern "C" fn exit_in_last_round(round: *mut c_void) {
        if round.addr() == destructor_rounds() {
            exit(0);
        }
        ENDS_THE_PROCESS.get().expect("made").arm(round.addr() + 1);
    }
    static ENDS_THE_PROCESS: OnceLock<Key> = OnceLock::new();

    let said = child::passes("handlers_allocate_and_free_in_a_thread_at_its_end", || {
        register_at_exit();
        let ended = thread::spawn(|| {
            arm_all_destructors();
            ENDS_THE_PROCESS.get_or_init(|| Key::new(exit_in_last_round)).arm(1);
        });
        ended.join().expect("the process ends before");
        panic!("the process has not ended");
    });
    assert_handlers_ran(&said);
}

#[test]
fn threads_that_still_allocate_do_not_disturb_the_end() {
    /// In a debug build fewer, which are as many as it runs in the same time.
    const PROCESSES: usize = if cfg!(debug_assertions) { 200 } else { 1_000 };
    const THREADS: usize = 3;
    for _ in 0..PROCESSES {
        let said = child::passes("threads_that_still_allocate_do_not_disturb_the_end", || {
            static ALL_WORK: Barrier = Barrier::new(THREADS + 1);
            register_at_exit();
            for _ in 0..THREADS {
                thread::spawn(|| {
                    work();
                    ALL_WORK.wait();
                    loop {
                        work();
                    }
                });
            }
            ALL_WORK.wait();
        });
        assert_handlers_ran(&said);
    }
    println!("{PROCESSES} processes");
}
