//! Linux, macOS and the BSDs: `mmap` (in `mapping`), a pthread key (in `thread_exit`), `pthread_atfork`.

#[cfg(not(feature = "preload"))]
use core::ffi::c_void;
use core::ffi::{CStr, c_char};
use core::ptr;
use core::time::Duration;

pub(crate) use mapping::SystemPages;
pub(crate) use thread_exit::ThreadExit;

#[path = "mapping.rs"]
mod mapping;
#[path = "thread_exit.rs"]
mod thread_exit;

/// Whether this system gives pages, so that small blocks come from arenas.
pub(crate) const HAS_ARENAS: bool = true;

/// Processors that a thread's set has room for: as many as Linux can be built for.
#[cfg(target_os = "linux")]
const CORES_MAX: usize = 8192;

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

/// Sleeps for about so long. May change `errno`.
pub(crate) fn sleep(time: Duration) {
    // No more than fits into any system's, which is 68 years.
    let seconds = time.as_secs().min(i32::MAX as u64);
    sleep_for(libc::timespec { tv_sec: seconds as _, tv_nsec: time.subsec_nanos() as _ });
}

/// By waiting for a word that nobody else knows: a sandbox that lets threads wait for a lock lets them do this, and
/// unlike the library's functions it is no point at which a thread may be cancelled, as `free` must not be.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn sleep_for(time: libc::timespec) {
    let word: u32 = 0;
    let waits = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: `word` and `time` are valid for the reads, and the structure is the kernel's where a word has 64 bits.
    unsafe { libc::syscall(libc::SYS_futex, &raw const word, waits, word, &raw const time) };
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn sleep_for(time: libc::timespec) {
    // SAFETY: `time` is valid for the read, and nobody asks what was left of it.
    unsafe { libc::nanosleep(&raw const time, ptr::null_mut()) };
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

/// Whether the process has environment variables, or the C library knows of them already.
#[cfg(feature = "preload")]
pub(crate) fn has_variables() -> bool {
    // SAFETY: as in `for_each_variable`.
    !unsafe { variables() }.is_null()
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
        // SAFETY: the null that ends the array is not reached yet.
        *place = unsafe { place.add(1) };
        // SAFETY: each variable is a string that ends with a zero.
        if !unsafe { begins_with(text, prefix) } {
            continue;
        }
        // SAFETY: as above; it lives as long as the process.
        let text = unsafe { CStr::from_ptr(text) }.to_bytes();
        let equals = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
        let (name, value) = text.split_at_checked(equals).unwrap_or((text, b""));
        if let Some(name) = name.strip_prefix(prefix) {
            return Some((name, value.get(1..).unwrap_or(b"")));
        }
    }
}

/// Whether a string begins with `prefix`, which has no zero. Reads no more of it than that: most variables
/// differ in the first byte, and may be long.
///
/// # Safety
///
/// - `text` is a string that ends with a zero.
unsafe fn begins_with(text: *const c_char, prefix: &[u8]) -> bool {
    prefix.iter().enumerate().all(|(index, byte)| {
        // SAFETY: all bytes before this one are the prefix's, so that the zero is not passed.
        let place = unsafe { text.add(index) };
        // SAFETY: a byte of the string, or the zero that ends it.
        let found = unsafe { place.read() };
        found as u8 == *byte
    })
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
