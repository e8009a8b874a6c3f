//! A made-up heap, for the tests of what shows heaps.
#![forbid(unsafe_code)]

use super::*;
use crate::config::BLOCK_POOLS_PER_ARENA;

/// A balanced heap: three arenas, four of their pools in use, by three classes, and of the first class
/// with one pool full.
pub(crate) fn made_up() -> Stats {
    let mut stats = Stats::new();
    let blocks = [(8, 1, 512, 0, 0), (48, 2, 97, 53, 20), (512, 1, 3, 4, 1)];
    for (block_bytes, pools, used_blocks, free_blocks, cached_blocks) in blocks {
        stats.classes[block_bytes / 8 - 1] =
            ClassStats { block_bytes, pools, used_blocks, free_blocks, cached_blocks };
    }
    stats.arenas = ArenaStats {
        mapped: 3,
        high_water: 5,
        mapped_ever: 7,
        remapped: 1,
        released: 4,
        unused_pools: 3 * BLOCK_POOLS_PER_ARENA - 4,
        unused_pools_purged: 100,
        pools_purged_ever: 1_234,
    };
    stats.large = LargeStats { cached_blocks: 12, cached_bytes: 34_560, taken_bytes: 7_890_123 };
    stats.thread = ThreadStats {
        cached_blocks: 9,
        cached_bytes: 432,
        large_cached_blocks: 2,
        large_cached_bytes: 5_120,
    };
    stats
}
