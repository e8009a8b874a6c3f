//! What the process has in memory.

use std::fs;

/// Resident bytes of this process.
///
/// # Panics
///
/// If `/proc` is not there.
pub fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    // SAFETY: `sysconf` has no conditions.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.expect("the second field is a number") * page_bytes as usize
}
