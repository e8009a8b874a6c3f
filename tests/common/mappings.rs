//! How many mappings the process has.

use std::fs;

/// Mappings of this process, of which the system gives only so many.
///
/// # Panics
///
/// If `/proc` is not there.
pub fn count() -> usize {
    fs::read_to_string("/proc/self/maps").expect("/proc is mounted").lines().count()
}
