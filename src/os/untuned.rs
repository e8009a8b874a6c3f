//! System allocators of which nothing is known but that they allocate.

use core::ptr::NonNull;

/// Nothing: no threshold is known.
pub(crate) fn tune_early() {}

/// Nothing, as above.
pub(crate) fn tune_fully() {}

/// Nothing: no way to is known.
pub(crate) fn trim_system_allocator() -> bool {
    false
}

/// Nothing: no way to ask is known.
///
/// # Safety
///
/// - `block` is the system allocator's, and in use.
pub(crate) unsafe fn usable_bytes(_block: NonNull<u8>) -> Option<usize> {
    None
}
