//! Several arenas in one row: what a cell shows that stands for the pools at the same place of each.
#![forbid(unsafe_code)]

use core::array;

use crate::config::{BLOCK_POOLS_PER_ARENA, CLASS_COUNT};

use super::{ArenaRow, FILL_MAX, PoolCell, fill_of};

/// What most pools of a cell are, and the cell's ground shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    Unused,
    Purged,
    Class,
}

/// A cell to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) ground: Ground,
    /// The class that most of its pools have; zero where none has one.
    pub(super) class_number: u8,
    /// How full its pools are in the mean, those without a class included, in steps to [`FILL_MAX`].
    pub(super) fill: u8,
}

/// The cells of a row for these arenas.
pub(super) fn fold(arenas: &[&ArenaRow]) -> [Cell; BLOCK_POOLS_PER_ARENA] {
    array::from_fn(|column| cell_of(arenas.iter().filter_map(|arena| arena.pools.get(column))))
}

fn cell_of<'a>(pools: impl Iterator<Item = &'a PoolCell>) -> Cell {
    let mut of_class = [0_usize; CLASS_COUNT + 1];
    let (mut all, mut purged, mut with_class, mut fill) = (0, 0, 0, 0);
    for pool in pools {
        all += 1;
        if pool.has_class() {
            with_class += 1;
            fill += usize::from(pool.fill);
            if let Some(count) = of_class.get_mut(usize::from(pool.class_number)) {
                *count += 1;
            }
        } else {
            purged += usize::from(pool.is_purged());
        }
    }
    let ground = if with_class > 0 && with_class * 2 >= all {
        Ground::Class
    } else if purged * 2 > all {
        Ground::Purged
    } else {
        Ground::Unused
    };
    let fill = fill_of(fill, all * usize::from(FILL_MAX));
    Cell { ground, class_number: most_frequent(&of_class), fill }
}

/// The class with the most pools, of several the one with the smallest blocks; zero if there are none.
fn most_frequent(of_class: &[usize; CLASS_COUNT + 1]) -> u8 {
    let (mut most, mut found) = (0, 0);
    for (number, count) in (0_u8..).zip(of_class) {
        if *count > most {
            (most, found) = (*count, number);
        }
    }
    found
}
