//! What debug builds know: which small blocks are in use, and whether the calling thread is inside of the
//! allocator. Release builds never ask.

use super::HEAP;
use super::own::with_caches;

/// Notes that a small block is given out, and says if it was before.
pub(crate) fn begin_use(block: usize) -> bool {
    HEAP.arenas().uses().set(block)
}

/// Notes that a small block is freed, and says if it was in use.
pub(crate) fn end_use(block: usize) -> bool {
    HEAP.arenas().uses().clear(block)
}

/// Whether a small block is in use.
pub(crate) fn is_in_use(block: usize) -> bool {
    HEAP.arenas().uses().is_set(block)
}

/// Notes whether the thread is inside of the allocator from now on, and says if it was.
pub(crate) fn replace_inside(is_inside: bool) -> bool {
    with_caches(|caches| caches.is_inside.replace(is_inside))
}
