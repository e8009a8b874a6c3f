//! The limit of the address space.

use std::fs;
use std::mem::MaybeUninit;

/// Bytes of address space that the process has mapped.
pub fn mapped_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages = statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    // SAFETY: `sysconf` has no conditions.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.expect("the first field is a number") * page_bytes as u64
}

/// Sets the limit to what `bytes` makes of the one before, and leaves the greatest that may be set.
pub fn set(bytes: impl FnOnce(libc::rlimit) -> u64) {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the limit is valid for writes.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, limit.as_mut_ptr()) }, 0);
    // SAFETY: written by `getrlimit`, which succeeded.
    let limit = unsafe { limit.assume_init() };
    let limit = libc::rlimit { rlim_cur: bytes(limit), rlim_max: limit.rlim_max };
    // SAFETY: the limit is valid for reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

/// Lets the process map `bytes` more than it has mapped now, and no more.
pub fn allow(bytes: usize) {
    let most = mapped_bytes() + bytes as u64;
    set(|_| most);
}

/// Lets the process map what it likes.
pub fn lift() {
    set(|limit| limit.rlim_max);
}
