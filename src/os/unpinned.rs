//! Where no library that carries this allocator is known to be loaded late, or it does not matter.

/// Whether this is the code of a shared library, and may have been loaded at any time: not that it is known.
pub(crate) fn is_shared_library() -> bool {
    false
}
