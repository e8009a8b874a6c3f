//! The heap as a picture: an SVG with a row for each arena and a cell for each of its pools.
//!
//! A cell's colour is the size class of its pool, and it is filled from below as far as the pool's
//! blocks are in use. Large heaps are folded: neighbouring arenas share a row, so that a picture
//! never has more than [`ROWS_MAX`] of them, and stays readable and small.
//!
//! Drawing allocates, so the caller holds no lock of the heap, and draws from a copy.
//!
//! ```text
//!   1 <= arenas of a row = arenas / ROWS_MAX, rounded up      rows <= ROWS_MAX
//! ```
#![forbid(unsafe_code)]

use core::cmp::Reverse;
use core::iter;
use std::collections::BinaryHeap;

use crate::census::Stats;
use crate::config::{BLOCK_POOLS_PER_ARENA, CLASS_COUNT};
use crate::os::debug_check;

mod colours;
mod drawing;
mod fold;
mod head;
mod sheet;

/// Rows that a picture has at most.
const ROWS_MAX: usize = 128;

/// Steps between a pool without a block in use and one with all: fine enough for the eye, and coarse
/// enough that neighbours often are equal, and are drawn as one.
const FILL_MAX: u8 = 20;

/// How full a pool is, in steps of which only a full one has [`FILL_MAX`] and only one without a live
/// block has none.
fn fill_of(live: usize, capacity: usize) -> u8 {
    let live = live.min(capacity);
    let steps = usize::from(FILL_MAX);
    match (live * steps).checked_div(capacity) {
        None => 0,
        Some(_) if live == 0 => 0,
        Some(_) if live == capacity => FILL_MAX,
        Some(step) => step.clamp(1, steps - 1) as u8,
    }
}

/// What the picture needs to know of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolCell {
    /// The number of its class, or zero if it has none.
    class_number: u8,
    /// Of a pool that has a class, how full it is; of one that has none, whether it is
    /// [`PoolCell::PURGED`].
    fill: u8,
}

impl PoolCell {
    /// An unused pool, to begin an array with.
    pub(crate) const EMPTY: Self = Self { class_number: 0, fill: 0 };

    const PURGED: Self = Self { class_number: 0, fill: 1 };

    /// A pool without a class that holds memory.
    pub(crate) const fn unused() -> Self {
        Self::EMPTY
    }

    /// A pool without a class and without memory.
    pub(crate) const fn purged() -> Self {
        Self::PURGED
    }

    /// A pool of a class, by its number from 1 to 64, with `live` of `capacity` blocks in use.
    pub(crate) fn of(class_number: u8, live: u32, capacity: u32) -> Self {
        let is_class = (1..=CLASS_COUNT).contains(&usize::from(class_number));
        debug_check!(is_class, "no such class to draw", class_number.into());
        Self { class_number, fill: fill_of(live as usize, capacity as usize) }
    }

    const fn has_class(self) -> bool {
        self.class_number != 0
    }

    fn is_purged(self) -> bool {
        self == Self::PURGED
    }
}

/// One arena: where it is, and its pools but the one that holds the headers.
pub(crate) struct ArenaRow {
    /// Where the arena starts.
    pub(crate) address: usize,
    /// Its pools, by address.
    pub(crate) pools: [PoolCell; BLOCK_POOLS_PER_ARENA],
}

/// Rows by the address of their arenas. A heap's order, since the sorts of slices may panic.
fn by_address(rows: &[ArenaRow]) -> Vec<&ArenaRow> {
    let mut waiting: BinaryHeap<(Reverse<usize>, usize)> =
        rows.iter().enumerate().map(|(index, row)| (Reverse(row.address), index)).collect();
    iter::from_fn(|| waiting.pop()).filter_map(|(_, index)| rows.get(index)).collect()
}

/// The picture of these arenas, in any order, with the totals of `stats` above it: an SVG 1.1 document
/// that needs nothing else.
pub(crate) fn render(rows: &[ArenaRow], stats: &Stats) -> String {
    let arenas = by_address(rows);
    let arenas_per_row = arenas.len().div_ceil(ROWS_MAX).max(1);
    let mut text = String::new();
    let written = sheet::write(&arenas, arenas_per_row, stats, &mut text);
    debug_check!(written.is_ok(), "a string refuses text", 0);
    text
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
