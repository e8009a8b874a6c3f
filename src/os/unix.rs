//! Linux, macOS and the BSDs: `mmap`, a pthread key, `pthread_atfork`.

#[cfg(not(feature = "preload"))]
use core::ffi::c_void;
use core::ffi::{CStr, c_char};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use super::PageSource;
use crate::config::{ARENA_BYTES, HUGE_PAGE_BYTES};
pub(crate) use thread_exit::ThreadExit;

#[path = "thread_exit.rs"]
mod thread_exit;

/// Whether this system gives pages, so that small blocks come from arenas.
pub(crate) const HAS_ARENAS: bool = true;

/// The cheapest clock that never goes back: a few nanoseconds a call, where the finer ones cost several
/// times that.
#[cfg(target_os = "linux")]
const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC_COARSE;
#[cfg(not(target_os = "linux"))]
const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Processors that a thread's set has room for: as many as Linux can be built for.
#[cfg(target_os = "linux")]
const CORES_MAX: usize = 8192;

/// Anonymous private mappings.
pub(crate) struct SystemPages {
    /// Where the next arena would fit: the place of the one released last, else below the one
    /// mapped last, where the kernel places mappings, too; zero before the first. Only a hint: the
    /// kernel's answer is checked, so any value will do.
    hint: AtomicUsize,
}

impl SystemPages {
    pub(crate) const fn new() -> Self {
        Self { hint: AtomicUsize::new(0) }
    }
}

impl PageSource for SystemPages {
    fn map(&self) -> Option<NonNull<u8>> {
        // Relaxed: the hint guards nothing, see its field.
        let hint = self.hint.load(Ordering::Relaxed);
        let arena = if hint == 0 { None } else { map_at(hint, ARENA_BYTES) };
        let arena = match arena {
            Some(arena) if is_aligned(arena) => arena,
            Some(elsewhere) => {
                // SAFETY: just mapped with this length, and nothing refers to it.
                unsafe { unmap(elsewhere, ARENA_BYTES) };
                map_aligned(ARENA_BYTES)?
            }
            None => map_aligned(ARENA_BYTES)?,
        };
        self.hint.store(arena.as_ptr().addr().wrapping_sub(ARENA_BYTES), Ordering::Relaxed);
        Some(arena)
    }

    #[cfg(target_os = "linux")]
    fn map_huge(&self) -> Option<NonNull<u8>> {
        let mapped = map_aligned(HUGE_PAGE_BYTES)?;
        // If the system does not take the advice, these are arenas as others are.
        // SAFETY: just mapped with this length.
        unsafe { libc::madvise(mapped.as_ptr().cast(), HUGE_PAGE_BYTES, libc::MADV_HUGEPAGE) };
        Some(mapped)
    }

    #[cfg(not(target_os = "linux"))]
    fn map_huge(&self) -> Option<NonNull<u8>> {
        None
    }

    #[cfg(target_os = "linux")]
    unsafe fn populate(&self, arena: NonNull<u8>) -> bool {
        // Linux 5.14; before, it is refused.
        // SAFETY: the caller owes that the arena is mapped, with this length; its contents stay.
        unsafe { libc::madvise(arena.as_ptr().cast(), ARENA_BYTES, libc::MADV_POPULATE_WRITE) == 0 }
    }

    #[cfg(not(target_os = "linux"))]
    unsafe fn populate(&self, _arena: NonNull<u8>) -> bool {
        false
    }

    unsafe fn release(&self, arena: NonNull<u8>) -> bool {
        // SAFETY: the caller owes that the arena is mapped, with this length, and unused.
        let released = unsafe { unmap(arena, ARENA_BYTES) };
        if released {
            // Relaxed: see the field.
            self.hint.store(arena.as_ptr().addr(), Ordering::Relaxed);
        }
        released
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // Elsewhere MADV_DONTNEED may keep the contents; a fresh mapping in place never does.
        if cfg!(target_os = "linux") {
            // SAFETY: the caller owes that these pages are mapped, and unused.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) == 0 }
        } else {
            // SAFETY: as above; MAP_FIXED replaces exactly the caller's own pages.
            unsafe { map_with(start.as_ptr().addr(), bytes, libc::MAP_FIXED).is_some() }
        }
    }

    fn page_bytes(&self) -> usize {
        // SAFETY: `sysconf` has no conditions.
        let bytes = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) });
        // What is not known is the whole arena, which is never purged in parts.
        bytes.ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(ARENA_BYTES)
    }

    fn milliseconds(&self) -> usize {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for the write.
        unsafe { libc::clock_gettime(CLOCK, &mut time) };
        (time.tv_sec as usize).wrapping_mul(1000).wrapping_add(time.tv_nsec as usize / 1_000_000)
    }

    fn map_table(&self) -> Option<NonNull<u8>> {
        map_at(0, ARENA_BYTES)
    }

    unsafe fn release_table(&self, table: NonNull<u8>) {
        // A table that the system does not take costs addresses, and no memory: it was never touched.
        // SAFETY: the caller owes that the table is mapped, with this length, and unused.
        unsafe { unmap(table, ARENA_BYTES) };
    }
}

fn is_aligned(arena: NonNull<u8>) -> bool {
    arena.as_ptr().addr().is_multiple_of(ARENA_BYTES)
}

/// Maps `bytes`, a power of two and of pages, at a multiple of that: twice as many, of which it unmaps
/// what lies before and after the aligned half.
fn map_aligned(bytes: usize) -> Option<NonNull<u8>> {
    let span_bytes = 2 * bytes;
    let span = map_at(0, span_bytes)?;
    let before = span.as_ptr().addr().wrapping_neg() % bytes;
    // SAFETY: `before` < `bytes`, so the pointer stays inside the span.
    let aligned = unsafe { span.add(before) };
    // SAFETY: the aligned half ends inside the span.
    let after = unsafe { aligned.add(bytes) };
    // A part that cannot be unmapped, since that would split a mapping too many, takes the rest with
    // it. What is unmapped may be another thread's at once, so it is never named again.
    // SAFETY: the part before is this function's own, and nothing refers to it.
    if before > 0 && !unsafe { unmap(span, before) } {
        // SAFETY: so is the whole span.
        unsafe { unmap(span, span_bytes) };
        return None;
    }
    // SAFETY: so is the part behind.
    if !unsafe { unmap(after, span_bytes - before - bytes) } {
        // SAFETY: so is all that is left of the span.
        unsafe { unmap(aligned, span_bytes - before) };
        return None;
    }
    Some(aligned)
}

fn map_at(address: usize, bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: without MAP_FIXED a new mapping replaces none.
    unsafe { map_with(address, bytes, 0) }
}

/// Maps `bytes` of zeroed memory, readable and writable.
///
/// # Safety
///
/// - With `MAP_FIXED` in `flags`, nothing refers to the `bytes` bytes at `address`, and they are
///   the caller's to replace.
unsafe fn map_with(address: usize, bytes: usize, flags: i32) -> Option<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: the caller owes that a fixed mapping replaces only its own; else none is replaced.
    let mapped = unsafe {
        libc::mmap(ptr::without_provenance_mut(address), bytes, protection, flags, -1, 0)
    };
    if mapped == libc::MAP_FAILED { None } else { NonNull::new(mapped.cast()) }
}

/// Unmaps; `false` where the kernel refuses, as it does when that would split one mapping too many.
///
/// # Safety
///
/// - The range belongs to the caller, and nothing refers to it.
unsafe fn unmap(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the caller owes the range.
    unsafe { libc::munmap(start.as_ptr().cast(), bytes) == 0 }
}

/// Has `prepare` called before each `fork`, and `in_parent` and `in_child` after it.
pub(crate) fn at_fork(
    prepare: unsafe extern "C" fn(),
    in_parent: unsafe extern "C" fn(),
    in_child: unsafe extern "C" fn(),
) -> bool {
    // SAFETY: the handlers are functions of this program, without arguments.
    unsafe { libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) == 0 }
}

/// Has `call` called when the process exits. On `false` it will not be.
pub(crate) fn at_exit(call: extern "C-unwind" fn()) -> bool {
    unsafe extern "C" {
        // The same function as in `libc`. Text is formatted through pointers to functions, of which the
        // compiler does not see that none unwinds; with the plain type it would put a panic in between.
        fn atexit(call: extern "C-unwind" fn()) -> core::ffi::c_int;
    }
    // SAFETY: `call` is a function of this program, without arguments, and does not unwind.
    unsafe { atexit(call) == 0 }
}

/// Starts a thread that calls `run`, that nobody waits for, and that no signal of the process's is
/// delivered to. On `false` the process may not have one more.
#[cfg(not(feature = "preload"))]
pub(crate) fn spawn(run: extern "C" fn(*mut c_void) -> *mut c_void) -> bool {
    let mut all = core::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = core::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `all` is valid for the write.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: `all` was filled in above, and `before` is valid for the write.
    let blocked =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    if blocked != 0 {
        return false;
    }
    let mut thread = core::mem::MaybeUninit::<libc::pthread_t>::uninit();
    // The new thread inherits that all is blocked.
    // SAFETY: `thread` is valid for the write, and `run` has the type of a thread's function.
    let created =
        unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), run, ptr::null_mut()) };
    if created == 0 {
        // SAFETY: the call above has filled it in.
        let thread = unsafe { thread.assume_init() };
        // SAFETY: the thread was just created, and nobody waits for it.
        unsafe { libc::pthread_detach(thread) };
    }
    // SAFETY: `before` was filled in above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    created == 0
}

/// Sleeps for about so long.
pub(crate) fn sleep(time: Duration) {
    let seconds = time.as_secs().min(i32::MAX as u64) as libc::time_t;
    let time = libc::timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos() as _ };
    // SAFETY: `time` is valid for the read, and what is left of it is not asked for.
    unsafe { libc::nanosleep(&time, ptr::null_mut()) };
}

/// Processors that the calling thread may run on, or zero if the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn cores() -> usize {
    let this_thread: libc::c_long = 0;
    let mut set = [0_usize; CORES_MAX / usize::BITS as usize];
    // Not by the library's own function: few programs touch the page that it lies in, and the system maps a
    // dozen others with it, while any that maps memory has that of `syscall`.
    // SAFETY: `set` has so many bytes, valid for the write.
    let written = unsafe {
        libc::syscall(libc::SYS_sched_getaffinity, this_thread, size_of_val(&set), set.as_mut_ptr())
    };
    if written < 0 { 0 } else { set.iter().map(|word| word.count_ones() as usize).sum() }
}

/// Processors that are there, or zero if the system does not say.
#[cfg(not(target_os = "linux"))]
pub(crate) fn cores() -> usize {
    // SAFETY: `sysconf` has no conditions.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(online).unwrap_or(0)
}

/// Lets another thread run on this core.
#[inline]
pub(crate) fn yield_now() {
    // SAFETY: `sched_yield` has no conditions.
    unsafe { libc::sched_yield() };
}

/// Calls `look` with the name and the value of each environment variable whose name starts with
/// `prefix`, the prefix left off; with none in a process that runs with more rights than its user's.
///
/// The variables are read where they are, as by `getenv`: by POSIX no thread may change them at the
/// same time. A Rust program's first allocation, which has them read, comes before its first thread.
pub(crate) fn for_each_variable(prefix: &[u8], mut look: impl FnMut(&[u8], &[u8])) {
    if has_more_rights() {
        return;
    }
    // SAFETY: the C library's own variable, which this process reads as any `getenv` does.
    let mut place = unsafe { variables() };
    if place.is_null() {
        return;
    }
    // SAFETY: the array, which is not null, or what is left of it.
    while let Some((name, value)) = unsafe { next_variable(&mut place, prefix) } {
        look(name, value);
    }
}

/// The name, the prefix left off, and the value of the next environment variable whose name starts with `prefix`;
/// `place` is behind it then. Out of line: once for all that look.
///
/// # Safety
///
/// - `place` is that of a pointer in the array of variables, and no thread changes them at the same time.
#[inline(never)]
unsafe fn next_variable(
    place: &mut *const *const c_char,
    prefix: &[u8],
) -> Option<(&'static [u8], &'static [u8])> {
    loop {
        // SAFETY: the caller owes a place in the array of variables, which a null ends.
        let text = unsafe { place.read() };
        if text.is_null() {
            return None;
        }
        // SAFETY: each variable is a string that ends with a zero, and lives as long as the process.
        let text = unsafe { CStr::from_ptr(text) }.to_bytes();
        // SAFETY: the null that ends the array is not reached yet.
        *place = unsafe { place.add(1) };
        let equals = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
        let (name, value) = text.split_at_checked(equals).unwrap_or((text, b""));
        if let Some(name) = name.strip_prefix(prefix) {
            return Some((name, value.get(1..).unwrap_or(b"")));
        }
    }
}

#[cfg(not(target_vendor = "apple"))]
unsafe extern "C" {
    static mut environ: *const *const c_char;
}

/// The start of the array of environment variables, or null.
///
/// # Safety
///
/// - No thread changes them at the same time.
#[cfg(not(target_vendor = "apple"))]
unsafe fn variables() -> *const *const c_char {
    let place = &raw const environ;
    // SAFETY: the C library's own variable; the caller owes that nobody writes to it now.
    unsafe { place.read() }
}

/// The start of the array of environment variables, or null.
///
/// # Safety
///
/// - No thread changes them at the same time.
#[cfg(target_vendor = "apple")]
unsafe fn variables() -> *const *const c_char {
    unsafe extern "C" {
        fn _NSGetEnviron() -> *const *const *const c_char;
    }
    // SAFETY: `_NSGetEnviron` has no conditions.
    let place = unsafe { _NSGetEnviron() };
    // SAFETY: it returns the place of the C library's own variable, and the caller owes that nobody
    // writes to it now.
    unsafe { place.read() }
}

/// Whether the process runs with more rights than its user's, so that the user must not steer it.
#[cfg(target_os = "linux")]
fn has_more_rights() -> bool {
    // SAFETY: `getauxval` has no conditions.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether the process runs with more rights than its user's, so that the user must not steer it.
#[cfg(not(target_os = "linux"))]
fn has_more_rights() -> bool {
    unsafe extern "C" {
        safe fn issetugid() -> core::ffi::c_int;
    }
    issetugid() != 0
}

/// Writes the parts to stderr as one line, of which it cuts off what is too long. Allocates nothing.
pub(crate) fn write_error(parts: &[&[u8]]) {
    const LINE_BYTES: usize = 256;
    let mut line = [b'\n'; LINE_BYTES];
    let mut used = 0;
    let bytes = parts.iter().copied().flatten();
    for (to, from) in line.iter_mut().take(LINE_BYTES - 1).zip(bytes) {
        *to = *from;
        used += 1;
    }
    if used == LINE_BYTES - 1 {
        used = LINE_BYTES;
    }
    write_error_bytes(line.get(..used).unwrap_or(&line));
}

/// Writes to stderr, as far as that takes it at once. Allocates nothing.
pub(crate) fn write_error_bytes(bytes: &[u8]) {
    // SAFETY: all of `bytes` is valid for reads.
    unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
}

pub(super) fn abort() -> ! {
    // Where the program handles the signal, and its handler comes to an end here, too, it is blocked: the
    // handler would be called again and again.
    // SAFETY: zeroed memory is a set of signals.
    let mut blocked: libc::sigset_t = unsafe { core::mem::zeroed() };
    // SAFETY: no signals to block, and a set to write to.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), &raw mut blocked) };
    // SAFETY: a valid set.
    if unsafe { libc::sigismember(&raw const blocked, libc::SIGABRT) } == 1 {
        // SAFETY: the default action is one.
        unsafe { libc::signal(libc::SIGABRT, libc::SIG_DFL) };
    }
    // SAFETY: `abort` has no conditions.
    unsafe { libc::abort() }
}
