//! The sizes that everything else is built on, and how they relate.
//!
//! The geometry is that of CPython's obmalloc (3.6, 64-bit): 8 bytes between size classes up to
//! 512 bytes, pools of 4 KiB, arenas of 256 KiB.
#![forbid(unsafe_code)]

use static_assertions::const_assert;

/// Bytes between two neighbouring size classes, and the least alignment of a block.
pub const ALIGNMENT: usize = 8;

/// The largest request, in bytes, that a pool serves; a larger one is a large block.
pub const SMALL_MAX: usize = 512;

/// Number of size classes.
pub const CLASS_COUNT: usize = SMALL_MAX / ALIGNMENT;

/// Bytes of a pool, the unit that an arena gives to one size class.
pub const POOL_BYTES: usize = 4096;

/// Bytes of an arena, the unit that is mapped from the operating system. Also its alignment.
pub const ARENA_BYTES: usize = 256 * 1024;

/// Pools that fit into an arena, the one that holds the headers included.
pub const POOLS_PER_ARENA: usize = ARENA_BYTES / POOL_BYTES;

/// Pools of an arena that hold blocks.
pub const BLOCK_POOLS_PER_ARENA: usize = POOLS_PER_ARENA - 1;

/// Bytes of a header, of a pool or of an arena: one cache line.
pub const HEADER_BYTES: usize = 64;

/// Bytes of blocks that a full magazine aims at, for the classes where the block limits allow it.
pub const MAGAZINE_BYTES: usize = 4 * 1024;

/// Fewest blocks of a full-grown magazine.
pub const MAGAZINE_BLOCKS_MIN: i32 = 16;

/// Most blocks of a magazine.
pub const MAGAZINE_BLOCKS_MAX: i32 = 128;

/// Blocks of a thread's first magazine of a class. It doubles with each exchange with the heap, so
/// that a thread that allocates little holds little.
pub const MAGAZINE_BLOCKS_FIRST: i32 = 8;

/// Virgin blocks that a thread links at once; they lie next to each other, in a page that is about to
/// be touched anyway.
pub const FRESH_BATCH_BLOCKS: u32 = 32;

/// Shards of the heap. Threads are spread over them, so that as many can work without meeting; more
/// would leave more pools half used.
pub const SHARD_COUNT: usize = 8;

/// Runs of blocks that go back to their pools at most while a lock is held once, to bound that time.
pub const GIVE_RUNS_MAX: usize = 16;

/// Full magazines that a depot, of one class in one shard, holds at most.
pub const DEPOT_MAGAZINES: usize = 16;

/// Flushes to a depot between two looks at how many of its magazines were of use.
pub const DEPOT_LOOK_FLUSHES: u32 = 64;

/// Flushes to a depot, with no refill between, after which it is emptied as well: what
/// only ever comes back is not about to be asked for.
pub const ONE_WAY_FLUSHES: u32 = 2 * DEPOT_MAGAZINES as u32;

/// Used pools whose free blocks one refill gathers at most, to bound the time under the lock.
pub const REFILL_POOLS_MAX: usize = 16;

/// Empty arenas that stay mapped before the program has shown that it swings: 4 MiB.
pub const EMPTY_ARENAS_FIRST: usize = 16;

/// Empty arenas that stay mapped at most, if few are in use: 64 MiB.
pub const EMPTY_ARENAS_MAX: usize = 256;

/// In a large heap, one empty arena stays mapped for each so many in use.
pub const USED_ARENAS_PER_EMPTY: usize = 8;

const_assert!(ALIGNMENT >= align_of::<usize>() && ALIGNMENT >= size_of::<usize>());
const_assert!(SMALL_MAX.is_multiple_of(ALIGNMENT) && SMALL_MAX <= POOL_BYTES / 2);
const_assert!(ARENA_BYTES.is_power_of_two() && POOL_BYTES.is_power_of_two());
// Sets of pools are the bits of a `u64`, and the headers of all pools fill exactly one pool.
const_assert!(POOLS_PER_ARENA == u64::BITS as usize);
const_assert!(HEADER_BYTES * POOLS_PER_ARENA == POOL_BYTES);
// A whole arena is mapped and released, so the page size of the system matters to nothing else:
// 4, 16 and 64 KiB all divide it.
const_assert!(ARENA_BYTES.is_multiple_of(64 * 1024));
const_assert!(MAGAZINE_BLOCKS_FIRST <= MAGAZINE_BLOCKS_MIN);
const_assert!(MAGAZINE_BLOCKS_MIN <= MAGAZINE_BLOCKS_MAX);
