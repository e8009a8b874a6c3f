//! How the heap of the process gets into a picture.

use core::alloc::GlobalAlloc;

use super::{ArenaRow, PoolCell, render};
use crate::census::{FoundPool, Surveyor};
use crate::config::BLOCK_POOLS_PER_ARENA;
use crate::global::Obmalloc;
use crate::thread;
use crate::wrong_use::alone;

/// Arenas that may come while memory for all of them is being made ready.
const SPARE_ROWS: usize = 64;

/// Rows for arenas, in memory that was made ready: a surveyor must not allocate.
struct Rows {
    rows: Vec<ArenaRow>,
    /// Arenas for which there was no place.
    missed: usize,
    /// The place of the next pool in the last row.
    next: usize,
}

impl Surveyor for Rows {
    fn see_arena(&mut self, address: usize) {
        self.next = 0;
        if self.missed > 0 || self.rows.len() == self.rows.capacity() {
            self.missed += 1;
            return;
        }
        self.rows.push(ArenaRow { address, pools: [PoolCell::EMPTY; BLOCK_POOLS_PER_ARENA] });
    }

    fn see_pool(&mut self, pool: FoundPool) {
        if self.missed > 0 {
            return;
        }
        let cell = match pool {
            FoundPool::Unused { is_purged: true } => PoolCell::purged(),
            FoundPool::Unused { is_purged: false } => PoolCell::unused(),
            FoundPool::Used { class, live_blocks } => {
                PoolCell::of(class.number(), live_blocks, class.blocks_per_pool())
            }
        };
        if let Some(place) = self.rows.last_mut().and_then(|row| row.pools.get_mut(self.next)) {
            *place = cell;
        }
        self.next += 1;
    }
}

impl<L: GlobalAlloc + 'static> Obmalloc<L> {
    /// A picture of the heap at one moment, as the text of an SVG document that any browser shows.
    ///
    /// Each arena of 256 KiB is a row and each of its pools of 4 KiB a cell: coloured by the size class
    /// that has it, filled as far as its blocks are in use, grey where no class has it, and hatched where it
    /// holds no memory, since it was purged or never touched. The title tells the totals. A heap of more
    /// than 128 arenas is folded: a row then shows several neighbouring ones.
    ///
    /// The time is that of [`Obmalloc::stats`], in which other threads may have to wait, and then some
    /// ten milliseconds for drawing, in which they do not. It allocates: the text of at most some two
    /// megabytes, and 136 bytes for each arena; where there is no memory for that, the process ends as with
    /// any other `String`. Where there are no arenas the picture says so.
    ///
    /// # Examples
    ///
    /// ```
    /// use obmalloc::Obmalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: Obmalloc = Obmalloc::new();
    ///
    /// let boxes: Vec<Box<[u64; 5]>> = (0..10_000).map(|_| Box::default()).collect();
    /// let picture = GLOBAL.heap_map();
    /// assert!(picture.starts_with("<svg") || picture.starts_with("<?xml"));
    /// # let path = std::env::temp_dir().join(format!("heap-{}.svg", std::process::id()));
    /// # let remove = path.clone();
    /// std::fs::write(path, picture)?;
    /// # std::fs::remove_file(remove)?;
    /// # drop(boxes);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn heap_map(&self) -> String {
        let mut found = Rows { rows: Vec::new(), missed: 0, next: 0 };
        let mut wanted = SPARE_ROWS;
        loop {
            found.rows.clear();
            found.rows.reserve_exact(wanted);
            (found.missed, found.next) = (0, 0);
            // The rows have room: nothing is allocated meanwhile.
            let stats = alone(|| thread::survey(&mut found));
            if found.missed == 0 {
                return render(&found.rows, &stats);
            }
            wanted = stats.arenas.mapped + SPARE_ROWS;
        }
    }
}
