//! System allocators of which nothing is known but that they allocate.

use core::ptr::NonNull;

/// No threshold is known.
pub(crate) fn has_users_thresholds() -> bool {
    false
}

/// Nothing, as above.
pub(crate) fn limit_arenas(_count: usize) -> bool {
    false
}

/// Nothing, as above.
pub(crate) fn tune_early() {}

/// Nothing, as above.
pub(crate) fn tune_fully() {}

/// Not that it is known.
pub(crate) fn is_main_thread() -> bool {
    false
}

/// Not that it is known.
pub(crate) fn is_only_thread() -> bool {
    false
}

/// Nothing, as above.
pub(crate) fn hold_in_system_allocator(_bytes: usize) {}

/// Nothing, as above.
pub(crate) fn end_hold_in_system_allocator() {}

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
