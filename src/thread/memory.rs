//! Memory that goes back to the system: by request, and by a thread that watches over what is idle.

use core::ffi::c_void;
use core::ptr;

use super::lifetime::config;
use super::own::{run_hook, start_thread, trim_system_allocator, with_caches};
use super::{Caches, HEAP, LARGE_HEAP, LARGE_TRIM_REQUESTS, SMALL_TRIM_REQUESTS};
use crate::cache::Keeping;
use crate::config::{Config, HELD_BYTES_FIRST, Pressure, SystemTuning};
use crate::os;

/// Times that the watching thread finds idle memory which the system does not take, before it gives up.
const FRUITLESS_MAX: u32 = 2;

impl Caches {
    /// Gives what this thread and the depots hold to the pools and to the system allocator, and returns
    /// how many bytes went to that.
    pub(super) fn flush(&self) -> usize {
        self.small.flush(&HEAP);
        HEAP.empty_depots();
        self.large.flush(&LARGE_HEAP) + LARGE_HEAP.empty_depots()
    }

    /// Gives back what this thread holds if another has asked for it since it did so last.
    #[inline]
    pub(super) fn follow_trim(&self) {
        if self.small_trim_follower.is_asked(&SMALL_TRIM_REQUESTS) {
            self.small.flush(&HEAP);
        }
        if self.large_trim_follower.is_asked(&LARGE_TRIM_REQUESTS) {
            self.large.flush(&LARGE_HEAP);
        }
    }
}

/// Gives back what this thread and the heaps can do without, to the system or to its allocator, and
/// returns the bytes. The other threads are asked to give back what they hold, at their next slow path.
#[cold]
#[inline(never)]
pub(crate) fn release() -> usize {
    let large_bytes = with_caches(|caches| {
        SMALL_TRIM_REQUESTS.ask(&caches.small_trim_follower);
        LARGE_TRIM_REQUESTS.ask(&caches.large_trim_follower);
        caches.flush()
    });
    let bytes = large_bytes + HEAP.release_free();
    follow_news(&Config::DEFAULT);
    bytes
}

/// As [`release`], and has the system's allocator give back what it holds for nothing, too; of that
/// the bytes are not known.
#[cold]
#[inline(never)]
pub(crate) fn trim() -> Trimmed {
    let bytes = release();
    end_hold(&Config::DEFAULT);
    Trimmed { bytes, system: trim_system_allocator() }
}

/// What a [`trim`] gave back.
pub(crate) struct Trimmed {
    /// To the system, or to its allocator.
    pub(crate) bytes: usize,
    /// Whether the system allocator gave anything.
    pub(crate) system: bool,
}

impl Trimmed {
    /// Whether a request that failed before may be served now.
    pub(crate) fn is_of_use(&self) -> bool {
        self.bytes > 0 || self.system
    }
}

/// Calls the program's hook, if it has one, and nothing while that is running in this thread; then
/// `again`, during which it is not called either.
fn call_hook<R>(
    chosen: &Config,
    pressure: fn(usize) -> Pressure,
    again: impl FnOnce() -> R,
) -> Option<R> {
    let hook = config(chosen).pressure()?;
    if with_caches(|caches| caches.is_in_hook.replace(true)) {
        return None;
    }
    // The hook is the program's, and outside.
    let was_inside = with_caches(|caches| caches.is_inside.replace(false));
    run_hook(hook.call, pressure(HEAP.arenas().mapped_bytes()));
    with_caches(|caches| caches.is_inside.set(was_inside));
    let result = again();
    with_caches(|caches| caches.is_in_hook.set(false));
    Some(result)
}

/// What a request has got; or, if that is nothing, what it gets once the program's hook was called, by
/// `again`.
#[inline(always)]
pub(super) fn or_after_hook(
    block: *mut u8,
    chosen: &Config,
    again: impl FnOnce() -> *mut u8,
) -> *mut u8 {
    if block.is_null() { after_hook_slow(chosen, again) } else { block }
}

#[cold]
#[inline(never)]
fn after_hook_slow(chosen: &Config, again: impl FnOnce() -> *mut u8) -> *mut u8 {
    let exhausted = |mapped_bytes| Pressure::Exhausted { mapped_bytes };
    os::keeping_errno(|| call_hook(chosen, exhausted, again)).unwrap_or(ptr::null_mut())
}

/// Acts upon what the arenas have told, if nobody has yet. Called with no lock held and no cache in use.
#[inline]
pub(super) fn follow_news(chosen: &Config) {
    let news = HEAP.arenas().news();
    // While the hook runs here, the news waits for it to end, or for another thread.
    if !with_caches(|caches| caches.is_in_hook.get()) && news.take_pressure() {
        call_hook(chosen, |mapped_bytes| Pressure::Rising { mapped_bytes }, || ());
    }
    if news.take_look() {
        look_at_large_blocks_slow(chosen);
    }
    if news.take_shrink() {
        empty_caches_slow();
    }
    start_wanted_watch();
}

/// Has the depots of large blocks and the system allocator give back what they hold, if for some time that was of no
/// use.
#[cold]
#[inline(never)]
fn look_at_large_blocks_slow(chosen: &Config) {
    LARGE_HEAP.look_at_depots();
    if LARGE_HEAP.has_surplus() && config(chosen).system_tuning() == SystemTuning::Early {
        end_hold(chosen);
        trim_system_allocator();
    }
}

/// Gives the small blocks that this thread and the depots hold back to their pools, and has the other threads do so at
/// their next slow path. What is then asked for comes of pools that are in use anyway.
#[cold]
#[inline(never)]
fn empty_caches_slow() {
    with_caches(|caches| {
        SMALL_TRIM_REQUESTS.ask(&caches.small_trim_follower);
        caches.small.flush(&HEAP);
    });
    HEAP.empty_places();
}

/// Has the system allocator hold no more of what is free than it does early.
fn end_hold(chosen: &Config) {
    if LARGE_HEAP.swings().end_hold() {
        settle_hold(chosen);
    }
}

/// Tells the system allocator what it should hold. Others may find that it should be another number meanwhile, and
/// tell it so before: so whoever has told it looks again, and the last one to tell it tells it the last number.
/// What they are told passes through the library's own lock, which puts that in order.
fn settle_hold(chosen: &Config) {
    if config(chosen).system_tuning() != SystemTuning::Early {
        return;
    }
    let swings = LARGE_HEAP.swings();
    let mut told = None;
    while let held = swings.held()
        && told != Some(held)
    {
        if held > HELD_BYTES_FIRST {
            os::hold_in_system_allocator(held);
        } else {
            os::end_hold_in_system_allocator();
        }
        told = Some(held);
    }
}

/// Tunes the system allocator early where that is wanted, once the program has told of blocks from there. Many a program
/// ends before, and need not wait for it.
#[inline]
pub(super) fn tune_once_in_use(chosen: &Config) {
    if LARGE_HEAP.take_beginning() {
        tune_early_slow(chosen);
    }
}

#[cold]
#[inline(never)]
fn tune_early_slow(chosen: &Config) {
    if config(chosen).system_tuning() == SystemTuning::Early {
        os::tune_early();
    }
}

/// Has the system allocator hold nothing more as soon as another thread than the main one is here, if that may
/// have another arena.
pub(super) fn notice_thread(chosen: &Config) {
    let swings = LARGE_HEAP.swings();
    if !swings.is_shared() && !swings.has_ended() && !os::is_main_thread() {
        swings.end();
        end_hold(chosen);
    }
}

/// Counts bytes that the system allocator has given in blocks which are not kept, or got back where negative.
#[cfg(feature = "preload")]
pub(crate) fn report_passed(bytes: isize) {
    LARGE_HEAP.report_passed(bytes);
}

/// Counts them, and lets time pass, as an exchange with the heap does.
pub(crate) fn count_passed(bytes: isize, chosen: &Config) {
    LARGE_HEAP.report_passed(bytes);
    if with_caches(|caches| caches.small.keeping()) != Keeping::UntilExit {
        notice_thread(chosen);
    }
    tune_once_in_use(chosen);
    // A C program may have told the library itself what to hold.
    if chosen.counts_large() && LARGE_HEAP.swings().take_hold().is_some() {
        settle_hold(chosen);
    }
    HEAP.tick();
    follow_news(chosen);
}

/// Starts the thread that watches over what is idle, if one is wanted.
#[inline]
pub(super) fn start_wanted_watch() {
    if HEAP.arenas().news().take_watch() {
        // A process that may not have the thread is not asked again: the watch counts as begun.
        start_thread(watch);
    }
}

/// Gives back what is idle each time the program was for a while, until nothing is.
extern "C" fn watch(_: *mut c_void) -> *mut c_void {
    let arenas = HEAP.arenas();
    let mut seen = arenas.now();
    let mut fruitless = 0;
    while let Some(period) = config(&Config::DEFAULT).background_purge() {
        os::sleep(period);
        if arenas.now() != seen {
            HEAP.tick();
            seen = arenas.now();
            continue;
        }
        HEAP.empty_depots();
        LARGE_HEAP.empty_depots();
        let bytes = HEAP.release_free();
        trim_system_allocator();
        if arenas.end_watch_if_nothing_is_idle() {
            return ptr::null_mut();
        }
        fruitless = if bytes == 0 { fruitless + 1 } else { 0 };
        if fruitless == FRUITLESS_MAX {
            break;
        }
    }
    arenas.end_watch();
    ptr::null_mut()
}
