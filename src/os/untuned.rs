//! System allocators of which nothing is known but that they allocate.

/// Nothing: no threshold is known.
pub(crate) fn tune_early() {}

pub(crate) fn tune_fully() {}

/// Nothing: no way to is known.
pub(crate) fn trim_system_allocator() -> bool {
    false
}
