//! glibc's own allocator, by the names that remain its own where this library takes the others.
//!
//! These never come back here: `__libc_malloc` and its kin call no other allocator, however many the
//! process has.

use core::ffi::{CStr, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

#[cfg(target_arch = "aarch64")]
#[path = "machine/aarch64.rs"]
mod machine;
#[cfg(target_arch = "x86_64")]
#[path = "machine/x86_64.rs"]
mod machine;

pub(crate) use machine::*;

unsafe extern "C" {
    /// As C's `malloc`.
    #[link_name = "__libc_malloc"]
    pub(crate) safe fn malloc(size: usize) -> *mut u8;

    /// As C's `calloc`.
    #[link_name = "__libc_calloc"]
    pub(crate) safe fn calloc(count: usize, size: usize) -> *mut u8;

    /// As glibc's `memalign`.
    #[link_name = "__libc_memalign"]
    pub(crate) safe fn memalign(alignment: usize, size: usize) -> *mut u8;

    /// As C's `realloc`.
    ///
    /// # Safety
    ///
    /// - `block` is null or a block of glibc's, which the caller gives up if the answer is not null, or
    ///   if `size` is zero.
    #[link_name = "__libc_realloc"]
    pub(crate) unsafe fn realloc(block: *mut u8, size: usize) -> *mut u8;

    /// As C's `free`. Leaves `errno` alone from glibc 2.33 on.
    ///
    /// # Safety
    ///
    /// - `block` is null or a block of glibc's, which the caller gives up.
    #[link_name = "__libc_free"]
    pub(crate) unsafe fn free(block: *mut u8);
}

/// Whether the process's `malloc` lies in the library that `own` lies in; also where the loader does not know it.
pub(crate) fn is_malloc_of_process(own: *const c_void) -> bool {
    let malloc: *const c_void = ptr::with_exposed_provenance(address_in_process!("malloc"));
    match (library_of(malloc), library_of(own)) {
        (Some(library), Some(own)) => library == own,
        _ => true,
    }
}

/// Where the library or program is loaded that an address lies in.
fn library_of(address: *const c_void) -> Option<usize> {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: any address may be asked for, and the answer has a place.
    let knows = unsafe { libc::dladdr(address, found.as_mut_ptr()) } != 0;
    // SAFETY: zeroed memory is such an answer, too.
    knows.then(|| unsafe { found.assume_init() }.dli_fbase.addr())
}

/// A function of glibc's that has no other name than that which this library takes.
///
/// It is looked for in glibc itself, not among what follows this library in the process: that may be a
/// third allocator, and the blocks are glibc's.
pub(crate) struct Hidden {
    name: &'static CStr,
    /// Null until it is found.
    address: AtomicPtr<c_void>,
}

impl Hidden {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Where the function is, if somebody has looked for it, or null.
    pub(crate) fn known(&self) -> *mut c_void {
        // Relaxed: the same address whoever finds it, of code that was there before this library's.
        self.address.load(Ordering::Relaxed)
    }

    /// Where the function is, or null. The first call may allocate and free, and is no part of either.
    pub(crate) fn address(&self) -> *mut c_void {
        let known = self.known();
        if !known.is_null() {
            return known;
        }
        // The handle is not closed: it counts a use of a library that stays anyway.
        // SAFETY: the name ends with a zero; glibc is loaded already, so that nothing new runs.
        let library =
            unsafe { libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        if library.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: the handle is a library's, and the name ends with a zero.
        let found = unsafe { libc::dlsym(library, self.name.as_ptr()) };
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

/// Bytes of a page of the system's.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: `sysconf` has no conditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // Every Linux has an answer.
    usize::try_from(bytes).unwrap_or(4096)
}
