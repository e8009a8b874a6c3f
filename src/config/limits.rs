//! What the parts of the allocator are told of the configuration.
#![forbid(unsafe_code)]

use super::{MAGAZINE_BLOCKS_MAX, MAGAZINE_BLOCKS_MIN, MAGAZINE_BYTES, MAGAZINE_BYTES_MAX};

/// What arenas are to keep to, in arenas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArenaBounds {
    /// So many may be mapped.
    pub(crate) most: Option<usize>,
    /// When so many are mapped, it is told.
    pub(crate) soft: Option<usize>,
    /// When so many are mapped, more come in huge pages.
    pub(crate) huge_from: Option<usize>,
    /// Whether a thread of their own gives back what is idle.
    pub(crate) is_watched: bool,
}

impl ArenaBounds {
    pub(crate) const NONE: Self =
        Self { most: None, soft: None, huge_from: None, is_watched: false };
}

/// How much one thread may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheLimits {
    /// What a magazine of small blocks aims at, at most [`MAGAZINE_BYTES`].
    pub(super) magazine_bytes: usize,
    /// What all magazines of large blocks may hold together.
    pub(crate) large_bytes: usize,
}

impl CacheLimits {
    /// Nothing but a block for each class.
    pub(crate) const NONE: Self = Self { magazine_bytes: 0, large_bytes: 0 };

    /// Small blocks of `block_bytes` each that a full-grown magazine holds.
    pub(crate) fn magazine_blocks(&self, block_bytes: usize) -> i32 {
        let blocks_in = |bytes| bytes / block_bytes.max(1);
        let fewest = MAGAZINE_BLOCKS_MIN.min(blocks_in(MAGAZINE_BYTES_MAX));
        let least = fewest * self.magazine_bytes / MAGAZINE_BYTES;
        blocks_in(self.magazine_bytes).max(least).clamp(1, MAGAZINE_BLOCKS_MAX as usize) as i32
    }
}
