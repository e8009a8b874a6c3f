//! What the allocator asks of an operating system; the only files with `cfg(target)`.
//!
//! A system is one file, which may have others under it, with these items: [`HAS_ARENAS`], [`SystemPages`] (a [`PageSource`]),
//! [`ThreadExit`], [`at_fork`], [`at_exit`], [`spawn`], [`sleep`], [`cores`], [`yield_now`],
//! [`for_each_variable`], [`write_error`], [`write_error_bytes`] and [`abort`]. `unix` serves Linux
//! (tested), macOS, FreeBSD, NetBSD and DragonFly (untested); `miri` the interpreter of that name, which
//! runs a program and says where its behaviour is undefined; `other` has no arenas, so that every request
//! passes to the system allocator. What is known of that allocator is in `glibc`, or in `untuned` where
//! nothing is.

use core::fmt::{self, Write};
use core::ptr::NonNull;

// Systems with `mmap`, pthreads and native thread-locals: elsewhere std keeps a thread-local behind a
// key of its own, which is gone before the thread's last free; so it does on OpenHarmony and with the x32
// ABI. `obmalloc_no_arenas` selects `other`
// to test what Windows and wasm get.
#[cfg(all(
    any(
        target_os = "linux",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "dragonfly",
        target_vendor = "apple",
    ),
    not(target_env = "ohos"),
    not(all(target_arch = "x86_64", target_pointer_width = "32")),
    not(obmalloc_no_arenas),
    not(miri),
))]
#[path = "os/unix.rs"]
mod system;
#[cfg(miri)]
#[path = "os/miri.rs"]
mod system;
#[cfg(not(any(
    miri,
    all(
        any(
            target_os = "linux",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "dragonfly",
            target_vendor = "apple",
        ),
        not(target_env = "ohos"),
        not(all(target_arch = "x86_64", target_pointer_width = "32")),
        not(obmalloc_no_arenas),
    ),
)))]
#[path = "os/other.rs"]
mod system;

#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
#[path = "os/glibc.rs"]
mod system_allocator;
#[cfg(not(all(target_os = "linux", target_env = "gnu", not(miri))))]
#[path = "os/untuned.rs"]
mod system_allocator;

// Elsewhere libraries with thread-locals are not unloaded (macOS), or none is (musl), or what would be
// said here is untested (the BSDs). A static program has no loader to ask.
#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(obmalloc_no_arenas),
    not(miri),
))]
mod pin;
#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    not(target_feature = "crt-static"),
    not(obmalloc_no_arenas),
    not(miri),
)))]
#[path = "os/unpinned.rs"]
mod pin;

#[cfg(any(
    target_os = "linux",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "dragonfly",
    target_vendor = "apple",
))]
mod errno;
#[cfg(not(any(
    target_os = "linux",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "dragonfly",
    target_vendor = "apple",
)))]
#[path = "os/no_errno.rs"]
mod errno;

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[path = "os/constant_offset.rs"]
mod offset;
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[path = "os/register_offset.rs"]
mod offset;

// Chosen with `--cfg` by whoever has the compiler put the address sanitizer's checks in.
#[cfg(obmalloc_address_sanitizer)]
#[path = "os/address_sanitizer.rs"]
mod sanitizer;
#[cfg(not(obmalloc_address_sanitizer))]
#[path = "os/unwatched.rs"]
mod sanitizer;

#[cfg(feature = "preload")]
pub(crate) mod upstream;

#[cfg(all(
    feature = "preload",
    not(all(
        target_os = "linux",
        target_env = "gnu",
        target_pointer_width = "64",
        any(target_arch = "x86_64", target_arch = "aarch64"),
    )),
))]
compile_error!("the feature `preload` is for Linux with glibc, on x86-64 and AArch64");

#[cfg(test)]
pub(crate) mod testing;

pub(crate) use errno::keeping_errno;
#[cfg(feature = "preload")]
pub(crate) use errno::set_errno;
pub(crate) use offset::in_register;
pub(crate) use pin::is_shared_library;
pub(crate) use sanitizer::{expect_in_use, poison, unpoison};
#[cfg(feature = "preload")]
pub(crate) use system::has_variables;
#[cfg(not(feature = "preload"))]
pub(crate) use system::spawn;
pub(crate) use system::{
    HAS_ARENAS, SystemPages, ThreadExit, at_exit, at_fork, cores, for_each_variable, sleep,
    write_error, write_error_bytes, yield_now,
};
#[cfg(not(feature = "preload"))]
pub(crate) use system_allocator::trim_system_allocator;
pub(crate) use system_allocator::{
    end_hold_in_system_allocator, has_users_thresholds, hold_in_system_allocator, is_main_thread,
    is_only_thread, limit_arenas, tune_early, tune_fully, usable_bytes,
};

/// Where arenas come from and go to. Any thread may call it at any time.
pub(crate) trait PageSource {
    /// Maps `ARENA_BYTES` of zeroed memory at a multiple of `ARENA_BYTES`, or says that there is
    /// none. The pointer is valid for the whole arena.
    fn map(&self) -> Option<NonNull<u8>>;

    /// Maps `HUGE_PAGE_BYTES` of zeroed memory at a multiple of that, which the system is asked to serve in
    /// one page: as many arenas as it holds, each to be released alone.
    fn map_huge(&self) -> Option<NonNull<u8>>;

    /// Makes all pages of a mapped arena resident, as if each was written to; on `false` some may be.
    ///
    /// # Safety
    ///
    /// - `arena` came from [`PageSource::map`] of this source and was not released since.
    unsafe fn populate(&self, arena: NonNull<u8>) -> bool;

    /// Gives a mapped arena back, address space included. On `false` it is still mapped.
    ///
    /// # Safety
    ///
    /// - `arena` came from [`PageSource::map`] of this source, or is one of [`PageSource::map_huge`]'s, and was not
    ///   released since.
    /// - Nothing refers to its memory any more.
    unsafe fn release(&self, arena: NonNull<u8>) -> bool;

    /// Gives the memory of some pages of a mapped arena back but keeps their addresses, which read as
    /// zero from then on. On `false` the contents are as before, or zero in a part.
    ///
    /// # Safety
    ///
    /// - `start` and `bytes` are whole pages of an arena that came from [`PageSource::map`] of this
    ///   source, or is one of [`PageSource::map_huge`]'s, and was not released since.
    /// - Nothing refers to this memory any more.
    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool;

    /// Bytes of a page, the least that can be purged; a power of two.
    fn page_bytes(&self) -> usize;

    /// A clock that starts anywhere, never goes back, and may wrap; a few milliseconds are all the same
    /// to it.
    fn milliseconds(&self) -> usize;

    /// Maps `ARENA_BYTES` of zeroed memory for a table, aligned for pointers, or says that there is
    /// none. What is not released stays as long as anything that this source has given.
    fn map_table(&self) -> Option<NonNull<u8>>;

    /// Gives a table back.
    ///
    /// # Safety
    ///
    /// - `table` came from [`PageSource::map_table`] of this source and was not released since.
    /// - Nothing refers to its memory any more.
    unsafe fn release_table(&self, table: NonNull<u8>);
}

/// Ends the process because an invariant does not hold: one line on stderr that says which, and the
/// address where it was seen. Allocates nothing.
#[cold]
#[inline(never)]
pub(crate) fn abort_corrupt(what: &str, address: usize) -> ! {
    let mut digits = [0_u8; 16];
    let mut rest = address;
    for digit in digits.iter_mut().rev() {
        let nibble = (rest & 15) as u8;
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        rest >>= 4;
    }
    system::write_error(&[b"obmalloc: ", what.as_bytes(), b" at 0x", &digits, b"\n"]);
    system::abort()
}

/// A line of text, cut where it is too long.
struct Line {
    bytes: [u8; 240],
    used: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.used..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(text.as_bytes()) {
            *to = *from;
            self.used += 1;
        }
        Ok(())
    }
}

/// As [`abort_corrupt`], with a text of the caller's.
#[cold]
#[inline(never)]
pub(crate) fn abort_saying(what: fmt::Arguments<'_>) -> ! {
    let mut line = Line { bytes: [0; 240], used: 0 };
    // A line takes any text, and the formatting of numbers cannot fail.
    let _ = line.write_fmt(what);
    let said = line.bytes.get(..line.used).unwrap_or_default();
    system::write_error(&[b"obmalloc: ", said, b"\n"]);
    system::abort()
}

/// Ends the process, in debug builds, if an invariant of the allocator does not hold. It takes the
/// place of `debug_assert!`, whose panic would allocate and unwind.
macro_rules! debug_check {
    ($holds:expr, $what:expr, $address:expr) => {
        if cfg!(debug_assertions) && !$holds {
            $crate::os::abort_corrupt($what, $address);
        }
    };
}
pub(crate) use debug_check;
