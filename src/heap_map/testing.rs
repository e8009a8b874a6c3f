//! Made-up heaps.
#![forbid(unsafe_code)]

use super::*;
use crate::config::POOL_BYTES;

/// What a made-up pool is.
#[derive(Clone, Copy)]
pub(super) enum Pool {
    Unused,
    Purged,
    /// Of a class, by its number, with so many of 1000 blocks in use.
    Class(u8, u32),
}

/// A heap with so many arenas whose pools are what `pool_at` says, by arena and place.
pub(super) fn heap(
    arenas: usize,
    mut pool_at: impl FnMut(usize, usize) -> Pool,
) -> (Vec<ArenaRow>, Stats) {
    let mut stats = Stats::new();
    stats.arenas.mapped = arenas;
    let mut rows = Vec::new();
    for arena in 0..arenas {
        let mut pools = [PoolCell::EMPTY; BLOCK_POOLS_PER_ARENA];
        for (place, cell) in pools.iter_mut().enumerate() {
            *cell = match pool_at(arena, place) {
                Pool::Class(number, per_thousand) => {
                    let class = &mut stats.classes[usize::from(number) - 1];
                    let capacity = (POOL_BYTES / class.block_bytes) as u32;
                    let live = capacity * per_thousand / 1000;
                    class.pools += 1;
                    class.used_blocks += live as usize;
                    class.free_blocks += (capacity - live) as usize;
                    PoolCell::of(number, live, capacity)
                }
                pool => {
                    stats.arenas.unused_pools += 1;
                    let is_purged = matches!(pool, Pool::Purged);
                    stats.arenas.unused_pools_purged += usize::from(is_purged);
                    if is_purged { PoolCell::purged() } else { PoolCell::unused() }
                }
            };
        }
        rows.push(ArenaRow { address: 0x7f12_3400_0000 + arena * 0x4_0000, pools });
    }
    assert!(stats.is_balanced());
    (rows, stats)
}

/// Numbers that look like chance and are always the same (Marsaglia, "Xorshift RNGs", 2003).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % bound
    }
}
