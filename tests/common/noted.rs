//! What debug builds hold beside the heap.

/// Bytes in which a debug build notes which blocks in so many bytes of arenas are in use: a bit for each
/// eight. They stay when the arenas go.
pub const fn noted_bytes(arena_bytes: usize) -> usize {
    if cfg!(debug_assertions) { arena_bytes / 64 } else { 0 }
}
