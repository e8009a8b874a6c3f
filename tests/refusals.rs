//! The system refuses what the allocator asks of it, one call or all from that one on: to register the process
//! (`pthread_atfork`) or its threads (a pthread key, and its value), to map, purge or release memory.
//!
//! A request may then get null, where memory is refused; nothing else happens, whatever threads hold can be
//! freed, and once the system is willing again, all goes back to it. The allocator calls the functions of
//! these names that this program defines: they refuse or pass on.
#![cfg(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    not(obmalloc_no_arenas),
))]

#[path = "common/chain.rs"]
mod chain;
#[expect(dead_code, reason = "every process here has an environment of its own")]
#[path = "common/child.rs"]
mod child;

use std::alloc::{GlobalAlloc, Layout};
use std::array;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use chain::Chain;
use child::Ended;
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Watched = Watched;

/// The allocator, which says when it is at work: keys that others make are not refused.
struct Watched;

static ALLOCATOR: Obmalloc = Obmalloc::new();

thread_local! {
    static IS_AT_WORK: Cell<bool> = const { Cell::new(false) };
}

fn at_work<R>(work: impl FnOnce() -> R) -> R {
    let before = IS_AT_WORK.replace(true);
    let result = work();
    IS_AT_WORK.set(before);
    result
}

// SAFETY: all is passed on.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller owes the same.
        at_work(|| unsafe { ALLOCATOR.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller owes the same.
        at_work(|| unsafe { ALLOCATOR.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller owes the same.
        at_work(|| unsafe { ALLOCATOR.dealloc(block, layout) });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller owes the same.
        at_work(|| unsafe { ALLOCATOR.realloc(block, layout, new_size) })
    }
}

/// The name of the function that refuses, and of its calls the first and the last that do.
const REFUSING: &CStr = c"TEST_REFUSING";
const FIRST: &CStr = c"TEST_FIRST";
const LAST: &CStr = c"TEST_LAST";

const ARENA_BYTES: usize = 256 << 10;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);
/// The allocator's key.
static KEY: AtomicUsize = AtomicUsize::new(usize::MAX);
/// From now on nothing is refused.
static IS_WILLING: AtomicBool = AtomicBool::new(false);

/// The value of an environment variable, without an allocation: the allocator's first calls come before
/// `main`, from inside of its first request.
fn variable(name: &CStr) -> Option<&'static [u8]> {
    // SAFETY: the name ends with a zero, and no thread of this program changes the environment.
    let value: *const c_char = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: a string that ends with a zero, and stays.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) }.to_bytes())
}

fn number(name: &CStr) -> usize {
    let digits = variable(name).unwrap_or_default();
    digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// Whether this call of a function is refused. Sets `errno` if so.
fn refuses(function: &[u8]) -> bool {
    if IS_WILLING.load(Ordering::Relaxed) || variable(REFUSING) != Some(function) {
        return false;
    }
    let call = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    let refuses = (number(FIRST)..=number(LAST)).contains(&call);
    if refuses {
        REFUSED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: `__errno_location` has no conditions.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: this thread's own.
        unsafe { errno.write(libc::ENOMEM) };
    }
    refuses
}

/// The C library's function of this name, as one of type `F`.
///
/// # Safety
///
/// - It has that type.
unsafe fn of_the_system<F: Copy>(name: &CStr) -> F {
    // SAFETY: the name ends with a zero.
    let function = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!function.is_null() && size_of::<F>() == size_of::<*mut c_void>());
    // SAFETY: the caller owes that this is the type of what was found.
    unsafe { mem::transmute_copy(&function) }
}

/// # Safety
///
/// - As for the system's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_key_create(
    key: *mut libc::pthread_key_t,
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
) -> c_int {
    type Create = unsafe extern "C" fn(
        *mut libc::pthread_key_t,
        Option<unsafe extern "C" fn(*mut c_void)>,
    ) -> c_int;
    let is_the_allocators = IS_AT_WORK.get();
    if is_the_allocators && refuses(b"pthread_key_create") {
        return libc::EAGAIN;
    }
    // SAFETY: that is its type.
    let create: Create = unsafe { of_the_system(c"pthread_key_create") };
    // SAFETY: the caller owes the same.
    let result = unsafe { create(key, destructor) };
    if is_the_allocators && result == 0 {
        // SAFETY: written by the call, which succeeded.
        KEY.store(unsafe { key.read() } as usize, Ordering::Relaxed);
    }
    result
}

/// # Safety
///
/// - As for the system's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setspecific(key: libc::pthread_key_t, value: *const c_void) -> c_int {
    type Set = unsafe extern "C" fn(libc::pthread_key_t, *const c_void) -> c_int;
    if KEY.load(Ordering::Relaxed) == key as usize && refuses(b"pthread_setspecific") {
        return libc::ENOMEM;
    }
    // SAFETY: that is its type.
    let set: Set = unsafe { of_the_system(c"pthread_setspecific") };
    // SAFETY: the caller owes the same.
    unsafe { set(key, value) }
}

/// # Safety
///
/// - As for the system's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_atfork(
    prepare: Option<unsafe extern "C" fn()>,
    in_parent: Option<unsafe extern "C" fn()>,
    in_child: Option<unsafe extern "C" fn()>,
) -> c_int {
    unsafe extern "C" {
        // What the C library's `pthread_atfork`, which is linked into each program, calls.
        fn __register_atfork(
            prepare: Option<unsafe extern "C" fn()>,
            in_parent: Option<unsafe extern "C" fn()>,
            in_child: Option<unsafe extern "C" fn()>,
            library: *mut c_void,
        ) -> c_int;
    }
    if refuses(b"pthread_atfork") {
        return libc::ENOMEM;
    }
    // SAFETY: the caller owes handlers; null is the program itself.
    unsafe { __register_atfork(prepare, in_parent, in_child, ptr::null_mut()) }
}

/// # Safety
///
/// - As for the system's.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    address: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: i64,
) -> *mut c_void {
    // Those that the standard library makes for itself are smaller.
    if bytes.is_multiple_of(ARENA_BYTES) && refuses(b"mmap") {
        return libc::MAP_FAILED;
    }
    let [protection, flags, file] = [protection, flags, file].map(c_long::from);
    // SAFETY: the caller owes the same.
    let mapped =
        unsafe { libc::syscall(libc::SYS_mmap, address, bytes, protection, flags, file, offset) };
    ptr::with_exposed_provenance_mut(mapped as usize)
}

/// # Safety
///
/// - As for the system's.
#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(address: *mut c_void, bytes: usize) -> c_int {
    if refuses(b"munmap") {
        return -1;
    }
    // SAFETY: the caller owes the same.
    unsafe { libc::syscall(libc::SYS_munmap, address, bytes) as c_int }
}

/// # Safety
///
/// - As for the system's.
#[unsafe(no_mangle)]
unsafe extern "C" fn madvise(address: *mut c_void, bytes: usize, advice: c_int) -> c_int {
    if refuses(b"madvise") {
        return -1;
    }
    // SAFETY: the caller owes the same.
    unsafe { libc::syscall(libc::SYS_madvise, address, bytes, c_long::from(advice)) as c_int }
}

/// In a debug build, only one call in so many fails, each in a process of its own.
const STEP: usize = if cfg!(debug_assertions) { 4 } else { 1 };

const THREADS: usize = 4;
const ROUNDS: usize = 4;

/// What each thread holds at once: with the first, more than an arena.
const WORK: [(usize, usize); 4] = [(512, 600), (48, 200), (8, 600), (600, 50)];

/// All threads wait for each other; whoever waits allocates nothing.
static ALL_THERE: Barrier = Barrier::new(THREADS);
static HANDED_OVER: [Mutex<Option<Chain>>; THREADS] = [const { Mutex::new(None) }; THREADS];
static NULLS: AtomicUsize = AtomicUsize::new(0);

/// Allocates what it can, frees some of it, hands some to the next thread, and frees what it was handed. Ends
/// with its caches full.
fn work(number: usize) {
    ALL_THERE.wait();
    let mut chains = WORK.map(|(size, _)| Chain::new(size));
    for (chain, (_, blocks)) in chains.iter_mut().zip(WORK) {
        let nulls = (0..blocks).filter(|_| !chain.push()).count();
        NULLS.fetch_add(nulls, Ordering::Relaxed);
    }
    let [mut most, rest @ ..] = chains;
    for _ in 0..WORK[0].1 / 2 {
        most.free_first();
    }
    *HANDED_OVER[(number + 1) % THREADS].lock().expect("no panic") = Some(most);
    ALL_THERE.wait();
    ALLOCATOR.trim();
    let foreign = HANDED_OVER[number].lock().expect("no panic").take();
    // Checks the stamps of the blocks, too.
    drop((foreign, rest));
}

/// Forks, in the only thread, and has the child allocate.
fn fork_and_wait() {
    // SAFETY: the process has one thread.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        let mut chain = Chain::new(64);
        let served = (0..20_000).filter(|_| chain.push()).count();
        drop(chain);
        // SAFETY: `_exit` has no conditions.
        unsafe { libc::_exit(if served == 20_000 { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the status is valid for writes.
    assert_eq!(unsafe { libc::waitpid(forked, &mut status, 0) }, forked);
    assert_eq!(status, 0, "the child allocates");
}

fn live() {
    for _ in 0..ROUNDS {
        let threads: [_; THREADS] = array::from_fn(|number| thread::spawn(move || work(number)));
        // A join, other than the end of a scope, waits for all of the thread's end.
        for thread in threads {
            thread.join().expect("the thread does not panic");
        }
        ALLOCATOR.trim();
    }
    IS_WILLING.store(true, Ordering::Relaxed);
    fork_and_wait();
    ALLOCATOR.trim();
    let stats = ALLOCATOR.stats();
    let (used, arenas) = (stats.used_bytes(), stats.arenas);
    let (calls, refused) = (CALLS.load(Ordering::Relaxed), REFUSED.load(Ordering::Relaxed));
    let nulls = NULLS.load(Ordering::Relaxed);
    println!("{refused} of {calls} calls refused, {nulls} nulls, {used} bytes in use");
    assert!(refused > 0, "none of {calls} calls was refused");
    // What was refused once is asked for again.
    assert!(number(FIRST) < number(LAST) || calls > refused, "asked for {calls} times");
    // To map an aligned arena is to release what lies beside it.
    let lacks_memory = matches!(variable(REFUSING), Some(b"mmap" | b"munmap"));
    // A debug build has no second try for the tables in which it notes what is in use.
    let may_have_nulls = lacks_memory && (number(FIRST) < number(LAST) || cfg!(debug_assertions));
    assert!(nulls == 0 || may_have_nulls, "{nulls} nulls");
    // What the test harness has, in blocks and in another thread's cache. A thread's are more.
    assert!(used < 48 << 10, "{used} bytes are lost");
    assert!(arenas.mapped <= 2, "{arenas:?}");
    assert_eq!(arenas.mapped_ever - arenas.released, arenas.mapped, "an arena is lost");
    let mut chain = Chain::new(64);
    assert!((0..50_000).all(|_| chain.push()));
}

/// Runs a process for each of these calls of a function, and one for each from which all are refused.
fn survive(test: &str, function: &str, calls: impl Iterator<Item = usize>) {
    let (mut processes, mut nulls) = (0, 0);
    for first in calls.step_by(STEP) {
        for last in [first, usize::MAX] {
            processes += 1;
            nulls += usize::from(gets_nulls(test, function, first, last));
        }
    }
    println!("{function}: {processes} processes, of which {nulls} had nulls");
}

/// Runs a process in which these calls of a function are refused, and says if it got nulls.
fn gets_nulls(test: &str, function: &str, first: usize, last: usize) -> bool {
    let variables =
        [(REFUSING, function.to_owned()), (FIRST, first.to_string()), (LAST, last.to_string())];
    let variables =
        variables.each_ref().map(|(name, value)| (name.to_str().expect("a name"), value.as_str()));
    let Ended { status, stdout, stderr } = child::run_with(test, &variables, live);
    assert!(status.success(), "{variables:?}: {status}\n{stdout}\n{stderr}");
    !stdout.contains(" 0 nulls")
}

#[test]
fn the_key_of_threads_is_not_made() {
    survive("the_key_of_threads_is_not_made", "pthread_key_create", 1..=1);
}

#[test]
fn the_end_of_threads_is_not_told() {
    survive("the_end_of_threads_is_not_told", "pthread_setspecific", 1..=30);
}

#[test]
fn a_fork_is_not_told() {
    survive("a_fork_is_not_told", "pthread_atfork", 1..=1);
}

/// The standard library, too, needs what the first call brings, an arena and its two tables, and in a debug build
/// two tables of what is in use. It ends the process if it does not get its few blocks.
#[test]
fn memory_is_not_mapped() {
    let needed = if cfg!(debug_assertions) { 3 } else { 1 };
    survive("memory_is_not_mapped", "mmap", needed + 1..=needed + 13);
}

/// What is mapped first is more than an arena, and does not have to be.
#[test]
fn memory_for_arena_and_tables_at_once_is_not_mapped() {
    let test = "memory_for_arena_and_tables_at_once_is_not_mapped";
    assert!(!gets_nulls(test, "mmap", 1, 1));
}

#[test]
fn memory_is_not_released() {
    survive("memory_is_not_released", "munmap", 1..=20);
}

#[test]
fn memory_is_not_purged() {
    survive("memory_is_not_purged", "madvise", 1..=20);
}
