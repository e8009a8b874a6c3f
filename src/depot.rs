//! Depots: small stacks of full magazines, shared by threads (Bonwick and Adams, "Magazines and Vmem",
//! 2001).
//!
//! A depot is called with its lock held, behind which its [`DepotBase`] lies, with its lowest magazines; the others
//! lie on [`Shelves`] with those of other depots. On top of these, where the program has shown that so many are of use,
//! magazines pile up that need no place: each is noted in the first block of the one above. A [`Stock`] is called by
//! any thread.

use core::ops::DerefMut;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::block::Magazine;
use crate::config::{CLASS_COUNT, DEPOT_LOOK_FLUSHES, SHELF_MAGAZINES};
use crate::os::{abort_corrupt, debug_check};
use crate::sync::Guarded;

/// Magazines that leave for one that comes, at most, to bound the time of a flush.
pub(crate) const EVICTIONS_MAX: usize = 4;

/// Of so many magazines that come when the depots are full, one has a place.
const COME_PER_PLACE: usize = 8;

/// Whether the magazine that came with this number is one of those: by multiples of the golden ratio, which are spread
/// evenly and follow no period, as the classes that come in turn may.
fn is_chosen(number: usize) -> bool {
    const GOLDEN_RATIO: u32 = 0x9e37_79b9;
    (number as u32).wrapping_mul(GOLDEN_RATIO) < u32::MAX / COME_PER_PLACE as u32
}

/// Depots that are looked at for that, at most.
const EVICTION_LOOKS_MAX: usize = CLASS_COUNT;

/// What the depots of all classes hold together, which is bounded, and whose turn it is when it is too
/// much: one after the other lets a magazine leave, now and then, so that what is no longer used makes place.
///
/// Relaxed: the numbers bound the depots, and guard nothing. A magazine is counted before it is in its
/// depot and until it has left it, so that the count is never below what the depots hold.
pub(crate) struct Stock {
    /// Of magazines that have a place.
    bytes: AtomicUsize,
    /// Of those in piles.
    piled_bytes: AtomicUsize,
    next_to_leave: AtomicUsize,
    /// Magazines that came when it was full.
    came_when_full: AtomicUsize,
}

impl Stock {
    /// The stock of depots without magazines.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            piled_bytes: AtomicUsize::new(0),
            next_to_leave: AtomicUsize::new(0),
            came_when_full: AtomicUsize::new(0),
        }
    }

    /// Counts a magazine that is about to come.
    pub(crate) fn comes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a magazine that has left.
    pub(crate) fn leaves(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_check!(before >= bytes, "depots give more than they hold", bytes);
    }

    /// Counts a magazine that is about to come to a pile.
    pub(crate) fn comes_to_pile(&self, bytes: usize) {
        self.piled_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a magazine that has left a pile.
    pub(crate) fn leaves_pile(&self, bytes: usize) {
        let before = self.piled_bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_check!(before >= bytes, "piles give more than they hold", bytes);
    }

    /// Bytes that the depots hold, in places.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that they hold in piles.
    pub(crate) fn piled_bytes(&self) -> usize {
        self.piled_bytes.load(Ordering::Relaxed)
    }

    /// Whether a magazine that was counted has a place, where the depots may hold so many bytes. Where they hold them, a
    /// few have: so that others make place in time for those of a class that is in use now. The rest had better go back
    /// to the pools, which takes a fraction of the time as long as their blocks, just freed, lie in a processor's cache.
    pub(crate) fn finds_place(&self, bytes_max: usize) -> bool {
        self.bytes() <= bytes_max || is_chosen(self.came_when_full.fetch_add(1, Ordering::Relaxed))
    }

    /// Has depots let magazines leave, by `evict`, until no more than `bytes_max` are left or a bounded
    /// number has gone. `evict` takes an index, of which any class is the remainder, and says if that
    /// class's depot had one.
    pub(crate) fn evict_beyond(&self, bytes_max: usize, evict: impl Fn(usize) -> bool) {
        let mut evictions = 0;
        for _ in 0..EVICTION_LOOKS_MAX {
            if evictions == EVICTIONS_MAX || self.bytes() <= bytes_max {
                return;
            }
            evictions += usize::from(evict(self.next_to_leave.fetch_add(1, Ordering::Relaxed)));
        }
    }
}

/// Magazines side by side.
type Row = [Magazine; SHELF_MAGAZINES];

const EMPTY_ROW: Row = [const { Magazine::EMPTY }; SHELF_MAGAZINES];

/// A row in a cache line of its own.
#[repr(align(64))]
struct Shelf(Guarded<Row>);

const _: () = assert!(size_of::<Shelf>() <= align_of::<Shelf>());

/// Where the depots of some classes keep what does not fit at their base: one shelf for each above the
/// other, so that no more memory is touched than the fullest of them is high.
pub(crate) struct Shelves<const DEPOTS: usize, const HEIGHT: usize>([[Shelf; DEPOTS]; HEIGHT]);

/// Shelves that depots of so many magazines need.
pub(crate) const fn shelves_above_base(magazines: usize) -> usize {
    assert!(magazines > SHELF_MAGAZINES && magazines.is_multiple_of(SHELF_MAGAZINES));
    magazines / SHELF_MAGAZINES - 1
}

impl<const DEPOTS: usize, const HEIGHT: usize> Shelves<DEPOTS, HEIGHT> {
    /// Shelves without magazines.
    pub(crate) const fn new() -> Self {
        Self([const { [const { Shelf(Guarded::new(EMPTY_ROW)) }; DEPOTS] }; HEIGHT])
    }

    /// The depot `index`, which stands on `base`.
    ///
    /// # Safety
    ///
    /// - `base` lies behind one lock, which is held for as long as it is borrowed.
    /// - It is that of `index` on these shelves since both were empty, and no other is.
    #[inline]
    pub(crate) unsafe fn depot<B: DerefMut<Target = DepotBase>>(
        &self,
        index: usize,
        base: B,
    ) -> Depot<'_, B, DEPOTS, HEIGHT> {
        debug_check!(index < DEPOTS, "depot out of range", index);
        Depot { base, shelves: self, index }
    }
}

/// The magazines at the bottom of a depot, so that one which holds little lies in the cache lines of its lock;
/// and what it knows of all, to find out about how many of them are of use (the working set of Bonwick and
/// Adams, 2001): as many as it never went below for a while lay at its bottom for nothing.
pub(crate) struct DepotBase {
    /// Magazines that have a place. If there is a pile, that of the highest, or the lowest of all, has the pile's top
    /// instead, which covers the others and, last, what was there.
    magazines: u32,
    blocks: u32,
    /// Of those, the ones in the pile.
    piled: u32,
    /// The fewest magazines since the last look.
    least: u32,
    /// Flushes since the last look.
    flushes: u32,
    /// What that look found to be of no use, less what has been taken since.
    unused: u32,
    bottom: Row,
}

impl DepotBase {
    /// That of a depot without magazines.
    pub(crate) const EMPTY: Self = Self {
        magazines: 0,
        blocks: 0,
        piled: 0,
        least: 0,
        flushes: 0,
        unused: 0,
        bottom: EMPTY_ROW,
    };

    /// Blocks that the depot holds.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks as usize
    }

    /// Blocks in the pile.
    pub(crate) fn piled(&self) -> u32 {
        self.piled
    }
}

/// A stack of magazines, while its lock is held.
pub(crate) struct Depot<'a, B, const DEPOTS: usize, const HEIGHT: usize> {
    base: B,
    shelves: &'a Shelves<DEPOTS, HEIGHT>,
    index: usize,
}

impl<B: DerefMut<Target = DepotBase>, const DEPOTS: usize, const HEIGHT: usize>
    Depot<'_, B, DEPOTS, HEIGHT>
{
    const MAGAZINES_MAX: u32 = (SHELF_MAGAZINES * (HEIGHT + 1)) as u32;

    /// Puts `magazine` where the one at `height` is, and returns that.
    #[inline]
    fn replace(&mut self, height: u32, magazine: Magazine) -> Magazine {
        let (row, place) = (height as usize / SHELF_MAGAZINES, height as usize % SHELF_MAGAZINES);
        let put = |row: &mut Row| core::mem::replace(&mut row[place], magazine);
        match row.checked_sub(1) {
            None => put(&mut self.base.bottom),
            Some(above) => {
                // Both indices are in range, so the remainders change nothing but the proof.
                let shelf = &self.shelves.0[above % HEIGHT][self.index % DEPOTS].0;
                // SAFETY: whoever made this depot owes that the lock which guards its shelves is held.
                unsafe { shelf.with(put) }
            }
        }
    }

    /// Keeps a magazine in a place, or hands it back if there is none, or a pile.
    #[inline]
    pub(crate) fn push(&mut self, magazine: Magazine) -> Option<Magazine> {
        let height = self.base.magazines;
        if height == Self::MAGAZINES_MAX || self.base.piled > 0 {
            return Some(magazine);
        }
        self.base.magazines = height + 1;
        self.base.blocks += magazine.len();
        let free = self.replace(height, magazine);
        debug_check!(free.is_empty(), "a depot's free place is taken", height as usize);
        None
    }

    /// Where the top of a pile is: in the highest place that was taken before, or the lowest.
    fn place_of_pile(&self) -> u32 {
        self.base.magazines.saturating_sub(1)
    }

    /// Piles a magazine up, or hands it back if that cannot be.
    ///
    /// # Safety
    ///
    /// - The blocks of this depot have [`COVER_BYTES`](crate::block::COVER_BYTES) at least.
    pub(crate) unsafe fn pile(&mut self, magazine: Magazine) -> Option<Magazine> {
        let top = self.place_of_pile();
        let below = self.replace(top, Magazine::EMPTY);
        if magazine.is_empty() || !below.can_be_covered() {
            self.replace(top, below);
            return Some(magazine);
        }
        // SAFETY: just seen, and the caller owes the size.
        unsafe { magazine.cover(below) };
        let len = magazine.len();
        self.replace(top, magazine);
        self.base.piled += len;
        self.base.blocks += len;
        None
    }

    /// The top of the pile, if there is one.
    fn pop_pile(&mut self) -> Option<Magazine> {
        if self.base.piled == 0 {
            return None;
        }
        let top = self.place_of_pile();
        let magazine = self.replace(top, Magazine::EMPTY);
        if magazine.is_empty() {
            abort_corrupt("block written after its free", self.index);
        }
        // SAFETY: as long as blocks are piled, the top place has a magazine that covers another.
        let below = unsafe { magazine.uncover() };
        self.replace(top, below);
        self.base.piled -= magazine.len();
        self.base.blocks -= magazine.len();
        Some(magazine)
    }

    /// The magazine that came last, from the pile or a place.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Magazine> {
        if self.base.piled > 0 {
            return self.pop_pile();
        }
        let top = self.base.magazines.checked_sub(1)?;
        self.base.magazines = top;
        self.base.least = self.base.least.min(top);
        let magazine = self.replace(top, Magazine::EMPTY);
        self.base.blocks -= magazine.len();
        Some(magazine)
    }

    /// Takes the magazine at the bottom if it is of no use; to be called with
    /// each flush. Not while there is a pile: then all below it is.
    pub(crate) fn pop_unused(&mut self) -> Option<Magazine> {
        let base = &mut *self.base;
        if base.piled > 0 {
            return None;
        }
        base.flushes += 1;
        if base.flushes >= DEPOT_LOOK_FLUSHES {
            base.flushes = 0;
            base.unused = core::mem::replace(&mut base.least, base.magazines);
        }
        base.unused = base.unused.checked_sub(1)?;
        // The top moves to the bottom: one in so many flushes, that costs less than moving all.
        let top = self.pop()?;
        if self.base.magazines == 0 {
            return Some(top);
        }
        self.base.blocks += top.len();
        let bottom = self.replace(0, top);
        self.base.blocks -= bottom.len();
        Some(bottom)
    }
}

#[cfg(test)]
impl<B: DerefMut<Target = DepotBase>, const DEPOTS: usize, const HEIGHT: usize>
    Depot<'_, B, DEPOTS, HEIGHT>
{
    /// Magazines that it holds.
    pub(crate) fn len(&self) -> usize {
        self.base.magazines as usize
    }

    /// Whether each magazine is in its place, and as long as it says, and all blocks are counted.
    pub(crate) fn is_valid(&mut self) -> bool {
        let pile: Vec<Magazine> = core::iter::from_fn(|| self.pop_pile()).collect();
        let is_valid = pile.iter().all(Magazine::is_valid) && self.are_places_valid();
        for magazine in pile.into_iter().rev() {
            // SAFETY: as before.
            let refused = unsafe { self.pile(magazine) };
            assert!(refused.is_none());
        }
        is_valid
    }

    fn are_places_valid(&mut self) -> bool {
        let mut blocks = 0;
        let in_place = (0..Self::MAGAZINES_MAX).all(|height| {
            let magazine = self.replace(height, Magazine::EMPTY);
            let is_valid = magazine.is_valid();
            let is_free = magazine.is_empty();
            blocks += magazine.len();
            self.replace(height, magazine);
            is_valid && is_free == (height >= self.base.magazines)
        });
        in_place && blocks == self.base.blocks
    }

    /// As if the look before the last flush had found `unused` magazines never needed.
    pub(crate) fn pretend_unused(&mut self, unused: u32) {
        self.base.flushes = DEPOT_LOOK_FLUSHES - 2;
        self.base.least = unused;
    }
}

#[cfg(test)]
mod tests;
