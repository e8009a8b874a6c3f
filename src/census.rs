//! What a heap is made of, in numbers: plain data, which the floors of the heap fill in and the floors
//! at the top show.
//!
//! Every byte of every arena belongs to one of six kinds, and to one alone (CPython's identity):
//!
//! ```text
//!   arenas = used + cached + free blocks + unused pools + headers + quantization
//! ```
//!
//! Numbers are plain: any thread may read, change and compare its own copy.
#![forbid(unsafe_code)]

use crate::config::{ARENA_BYTES, CLASS_COUNT, POOL_BYTES};
use crate::size_class::SizeClass;

/// The blocks of one size class, of all threads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// Size of each block of the class, in bytes.
    pub block_bytes: usize,
    /// Pools that the class has, in pools of 4096 bytes.
    pub pools: usize,
    /// Blocks that the program uses, or that lie in the cache of another thread than the one that
    /// asked, in blocks.
    pub used_blocks: usize,
    /// Blocks that lie in pools, freed or never handed out, in blocks.
    pub free_blocks: usize,
    /// Blocks that lie in depots or in the cache of the thread that asked, in blocks.
    pub cached_blocks: usize,
}

impl ClassStats {
    const fn of(class: SizeClass) -> Self {
        Self::of_bytes(class.bytes())
    }

    const fn of_bytes(block_bytes: usize) -> Self {
        Self { block_bytes, pools: 0, used_blocks: 0, free_blocks: 0, cached_blocks: 0 }
    }

    /// Whether there is anything to tell of the class.
    pub(crate) const fn is_present(&self) -> bool {
        self.pools > 0 || self.cached_blocks > 0
    }

    /// Bytes of its pools that their blocks leave free.
    fn quantization_bytes(&self) -> usize {
        self.pools * POOL_BYTES.checked_rem(self.block_bytes).unwrap_or(0)
    }
}

/// The arenas of all threads, and their pools.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenaStats {
    /// Arenas that are mapped now, in arenas of 256 KiB.
    pub mapped: usize,
    /// The most that were mapped at any time, in arenas.
    pub high_water: usize,
    /// Arenas that were ever mapped, in arenas; one counts each time that it is.
    pub mapped_ever: usize,
    /// Of these, arenas that were mapped while an earlier release was not made up for, in arenas: they
    /// had better not been released.
    pub remapped: usize,
    /// Arenas that were released to the operating system, in arenas.
    pub released: usize,
    /// Pools that no class has, in pools of 4096 bytes.
    pub unused_pools: usize,
    /// Of these, pools that hold no memory, since nothing was ever written to them or since they
    /// were purged, in pools.
    pub unused_pools_purged: usize,
    /// Pools that were ever purged, in pools; one counts each time that it is.
    pub pools_purged_ever: usize,
}

impl ArenaStats {
    /// Those of a heap without arenas.
    pub(crate) const NONE: Self = Self {
        mapped: 0,
        high_water: 0,
        mapped_ever: 0,
        remapped: 0,
        released: 0,
        unused_pools: 0,
        unused_pools_purged: 0,
        pools_purged_ever: 0,
    };
}

/// Large blocks of the sizes that are kept when they are freed, up to 32 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LargeStats {
    /// Free blocks in depots and in the cache of the thread that asked, in blocks.
    pub cached_blocks: usize,
    /// Size of these together, in bytes.
    pub cached_bytes: usize,
    /// What the system allocator has given for such blocks and not got back, in bytes.
    pub taken_bytes: usize,
}

/// The free blocks in the cache of the thread that asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadStats {
    /// Small blocks, in blocks.
    pub cached_blocks: usize,
    /// Size of these together, in bytes.
    pub cached_bytes: usize,
    /// Large blocks, in blocks.
    pub large_cached_blocks: usize,
    /// Size of these together, in bytes.
    pub large_cached_bytes: usize,
}

/// What the heap of the process is made of.
///
/// A block counts with the size of its class, not with what was asked for. Blocks in the caches of other
/// threads count as used, since only a thread itself knows its cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The size classes, from the smallest blocks to the largest.
    pub classes: [ClassStats; CLASS_COUNT],
    /// The arenas.
    pub arenas: ArenaStats,
    /// The large blocks.
    pub large: LargeStats,
    /// The cache of the thread that asked.
    pub thread: ThreadStats,
}

impl Stats {
    /// The numbers of a heap that nobody has used.
    pub(crate) fn new() -> Self {
        let mut stats = Self {
            classes: [const { ClassStats::of_bytes(0) }; CLASS_COUNT],
            arenas: ArenaStats::NONE,
            large: LargeStats { cached_blocks: 0, cached_bytes: 0, taken_bytes: 0 },
            thread: ThreadStats {
                cached_blocks: 0,
                cached_bytes: 0,
                large_cached_blocks: 0,
                large_cached_bytes: 0,
            },
        };
        for (place, class) in stats.classes.iter_mut().zip(SizeClass::all()) {
            *place = ClassStats::of(class);
        }
        stats
    }

    /// Bytes of all arenas that are mapped.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.arenas.mapped * ARENA_BYTES
    }

    /// Bytes of the small blocks that the program uses, or that lie in the caches of other threads.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.bytes_of(|class| class.used_blocks)
    }

    /// Bytes of the small blocks that lie in depots or in the cache of the thread that asked.
    #[must_use]
    pub fn cached_bytes(&self) -> usize {
        self.bytes_of(|class| class.cached_blocks)
    }

    /// Bytes of the small blocks that lie in pools, freed or never handed out.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.bytes_of(|class| class.free_blocks)
    }

    /// Bytes of the pools that no class has, whether they hold memory or not.
    #[must_use]
    pub fn unused_pool_bytes(&self) -> usize {
        self.arenas.unused_pools * POOL_BYTES
    }

    /// Bytes of headers: the first pool of each arena.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        self.arenas.mapped * POOL_BYTES
    }

    /// Bytes that are lost before and behind the blocks of each pool, where the pool's 4096 bytes are no
    /// multiple of the block's.
    #[must_use]
    pub fn quantization_bytes(&self) -> usize {
        self.classes.iter().map(ClassStats::quantization_bytes).sum()
    }

    /// Whether each byte of the arenas is of exactly one kind.
    pub(crate) fn is_balanced(&self) -> bool {
        let blocks = self.used_bytes() + self.cached_bytes() + self.free_bytes();
        let rest = self.unused_pool_bytes() + self.header_bytes() + self.quantization_bytes();
        self.arena_bytes() == blocks + rest
    }

    /// Out of line, and once for all kinds of bytes: it is in every program, and seldom called.
    #[inline(never)]
    fn bytes_of(&self, blocks: fn(&ClassStats) -> usize) -> usize {
        self.classes.iter().map(|class| blocks(class) * class.block_bytes).sum()
    }
}

/// A pool as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundPool {
    /// No class has it.
    Unused {
        /// Whether it holds no memory.
        is_purged: bool,
    },
    /// A class has it.
    Used {
        class: SizeClass,
        /// Its blocks that are in no pool.
        live_blocks: u32,
    },
}

/// Whoever is shown a heap. It is called with all locks of that heap held, so that it sees one moment;
/// it must not allocate, and be quick.
pub(crate) trait Surveyor {
    /// The depots hold so many blocks of a class; called any number of times for one.
    fn see_depot(&mut self, _class: SizeClass, _blocks: usize) {}

    /// The pools that follow are those of the arena at this address.
    fn see_arena(&mut self, _address: usize) {}

    fn see_pool(&mut self, pool: FoundPool);

    /// What has happened to the arenas; their pools are not counted in it.
    fn see_arenas(&mut self, _arenas: ArenaStats) {}
}

/// Two who are shown the same.
pub(crate) struct Both<'a, S>(pub(crate) &'a mut Stats, pub(crate) &'a mut S);

impl<S: Surveyor> Surveyor for Both<'_, S> {
    fn see_depot(&mut self, class: SizeClass, blocks: usize) {
        self.0.see_depot(class, blocks);
        self.1.see_depot(class, blocks);
    }

    fn see_arena(&mut self, address: usize) {
        self.0.see_arena(address);
        self.1.see_arena(address);
    }

    fn see_pool(&mut self, pool: FoundPool) {
        self.0.see_pool(pool);
        self.1.see_pool(pool);
    }

    fn see_arenas(&mut self, arenas: ArenaStats) {
        self.0.see_arenas(arenas.clone());
        self.1.see_arenas(arenas);
    }
}

/// Who wants to see nothing more.
pub(crate) struct Nobody;

impl Surveyor for Nobody {
    fn see_pool(&mut self, _pool: FoundPool) {}
}

impl Surveyor for Stats {
    fn see_depot(&mut self, class: SizeClass, blocks: usize) {
        self.add_cached(class, blocks);
    }

    fn see_pool(&mut self, pool: FoundPool) {
        match pool {
            FoundPool::Unused { is_purged } => {
                self.arenas.unused_pools += 1;
                self.arenas.unused_pools_purged += usize::from(is_purged);
            }
            FoundPool::Used { class, live_blocks } => {
                let capacity = class.blocks_per_pool();
                if let Some(stats) = self.classes.get_mut(class.index()) {
                    stats.pools += 1;
                    stats.used_blocks += live_blocks as usize;
                    stats.free_blocks += (capacity - live_blocks.min(capacity)) as usize;
                }
            }
        }
    }

    fn see_arenas(&mut self, arenas: ArenaStats) {
        let (unused_pools, unused_pools_purged) =
            (self.arenas.unused_pools, self.arenas.unused_pools_purged);
        self.arenas = ArenaStats { unused_pools, unused_pools_purged, ..arenas };
    }
}

impl Stats {
    /// So many blocks that are in no pool are cached, and not used.
    pub(crate) fn add_cached(&mut self, class: SizeClass, blocks: usize) {
        if let Some(stats) = self.classes.get_mut(class.index()) {
            stats.cached_blocks += blocks;
        }
    }

    /// Once all is seen: what is in no pool and not cached is used.
    pub(crate) fn settle(&mut self) {
        for class in &mut self.classes {
            class.used_blocks = class.used_blocks.saturating_sub(class.cached_blocks);
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
