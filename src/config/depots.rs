//! What depots of small blocks hold, and how long.
#![forbid(unsafe_code)]

use super::ARENA_BYTES;

/// Full magazines that a depot, of one class in one shard, holds at most: so much of what a program
/// frees and asks for again, at times, comes back without a walk through its blocks.
pub(crate) const DEPOT_MAGAZINES: usize = 64;

/// Magazines of a depot that lie side by side: those of one cache line.
pub(crate) const SHELF_MAGAZINES: usize = 4;

/// Bytes that the depots of all classes in one shard hold at most.
pub(crate) const DEPOT_BYTES_MAX: usize = 1 << 20;

/// Flushes to a depot between two looks at how many of its magazines were of use.
pub(crate) const DEPOT_LOOK_FLUSHES: u32 = 64;

/// Flushes to a depot, with no refill between, after which it is emptied as well: what
/// only ever comes back is not about to be asked for.
pub(crate) const ONE_WAY_FLUSHES: u32 = DEPOT_MAGAZINES as u32;

/// Flushes to a depot with no refill between that are a drop: what goes to the pools in one and is asked for again soon,
/// the depot keeps the next time.
pub(crate) const SWING_FLUSHES: u32 = 8;

/// Bytes that depots may keep of drops, in all classes and shards together.
pub(crate) const SWING_BYTES_MAX: usize = 64 << 20;

/// One part of so many that a drop may be larger than what is known of those before.
pub(crate) const SWING_SLACK: u32 = 4;

/// Of a drop that is larger still, a pile loses one block for each so many that go to the pools.
pub(crate) const WENT_PER_PILED: u32 = 4;

/// Looks after which what lay in a pile all the time goes: half a second.
pub(crate) const SWING_LOOKS: usize = 5;

/// Bytes of it that go at one look, at most, to bound the time that it takes.
pub(crate) const UNUSED_BYTES_PER_LOOK_MAX: usize = 4 << 20;

/// An arena may be mapped while piles hold one part of so many of all that is mapped; where they hold more, they shrink,
pub(crate) const MAPPED_PER_PILED: usize = 8;

/// by so many bytes for each arena.
pub(crate) const SHRUNK_PER_ARENA: usize = 4 * ARENA_BYTES;
