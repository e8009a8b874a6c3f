//! Arenas that have free pools, in lists by how full they are.
//!
//! Each arena has a *home*, the shard that took its first pool since it was last empty. A shard takes pools of its own
//! arenas as long as memory is idle there, so that threads which free what they allocated hand each other neither pages nor
//! the lines of headers; but of any other before it touches memory that is not resident yet.

use core::iter::successors;

use super::header::Arena;
use crate::config::{BLOCK_POOLS_PER_ARENA, POOLS_PER_ARENA, SHARD_COUNT};
use crate::os::debug_check;
use crate::pool::Shard;

/// The kinds of lists. A type, so that the compiler knows that there are no others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of arenas with an idle pool.
    Idle,
    /// Of those whose free pools have no memory.
    Dry,
}

const KINDS: [Kind; 2] = [Kind::Idle, Kind::Dry];

/// Of which number of free pools an arena is empty, by the bit of its lists; and the others.
const EMPTY: u64 = 1 << BLOCK_POOLS_PER_ARENA;
const IN_USE: u64 = !EMPTY;

fn kind_of(arena: Arena) -> Kind {
    if arena.idle_pools() == 0 { Kind::Dry } else { Kind::Idle }
}

/// A list.
#[derive(PartialEq, Eq)]
struct Place {
    home: usize,
    kind: Kind,
    free_pools: usize,
}

/// What the lists hold, found by a walk through all of them.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Linked {
    pub(super) empty: usize,
    pub(super) staying: usize,
}

/// The lists.
///
/// Invariants: `lists[home][kind][n]` holds the arenas of that home and kind with `n` free pools, but for the empty ones
/// that stay mapped, which are in a list of their own; bit `n` of `nonempty[kind][home]` is set if and only if it has one.
///
/// What each process touches lies in front.
#[repr(C)]
pub(super) struct ByFullness {
    nonempty: [[u64; SHARD_COUNT]; KINDS.len()],
    /// The home of the arena that became empty last, or was linked as an empty one.
    emptied: Shard,
    /// The first of those that stay, and the last, behind which others come, so that all are offered to the system in turn.
    staying: Option<Arena>,
    last_staying: Option<Arena>,
    lists: [[[Option<Arena>; POOLS_PER_ARENA]; KINDS.len()]; SHARD_COUNT],
}

impl ByFullness {
    pub(super) const EMPTY: Self = Self {
        nonempty: [[0; SHARD_COUNT]; KINDS.len()],
        emptied: Shard::FIRST,
        staying: None,
        last_staying: None,
        lists: [[[None; POOLS_PER_ARENA]; KINDS.len()]; SHARD_COUNT],
    };

    /// Unlinks the arena that `shard` is to take a pool of, and says how many free pools it has: the fullest of its own
    /// with an idle one, else one of another shard with memory, rather an empty one; where no pool is idle, the fullest of
    /// those in use, its own first, then an empty one, and at last one that stays.
    #[inline]
    pub(super) fn unlink_fullest_for(&mut self, shard: Shard) -> Option<(Arena, usize)> {
        let own = self.fullest(Kind::Idle, shard, u64::MAX);
        match own.or_else(|| self.fullest_elsewhere(shard)) {
            Some(place) => Some((self.unlink_first(&place)?, place.free_pools)),
            None => {
                let arena = self.staying?;
                self.remove_staying(arena);
                Some((arena, BLOCK_POOLS_PER_ARENA))
            }
        }
    }

    /// Where none of the shard's own arenas has an idle pool.
    fn fullest_elsewhere(&self, shard: Shard) -> Option<Place> {
        self.fullest_of_all(Kind::Idle, shard, EMPTY)
            .or_else(|| self.fullest_of_all(Kind::Idle, shard, IN_USE))
            .or_else(|| self.fullest_of_all(Kind::Dry, shard, IN_USE))
            .or_else(|| self.fullest_of_all(Kind::Dry, shard, EMPTY))
    }

    /// That of the first shard that has one, from `first` on.
    fn fullest_of_all(&self, kind: Kind, first: Shard, among: u64) -> Option<Place> {
        // Most often none has, or just the first.
        if self.of_all(kind) & among == 0 {
            return None;
        }
        for step in 0..SHARD_COUNT {
            let place = self.fullest(kind, Shard::at(first.index() + step), among);
            if place.is_some() {
                return place;
            }
        }
        None
    }

    /// Where the fullest of a shard's arenas is, of those with a number of free pools of which a bit is set.
    #[inline]
    fn fullest(&self, kind: Kind, home: Shard, among: u64) -> Option<Place> {
        let home = home.index() % SHARD_COUNT;
        let free_pools = (self.nonempty[kind as usize][home] & among).trailing_zeros() as usize;
        // Of no bit it is the number of bits.
        (free_pools < POOLS_PER_ARENA).then_some(Place { home, kind, free_pools })
    }

    fn first_at(&self, place: &Place) -> Option<Arena> {
        let Place { home, kind, free_pools } = *place;
        self.lists[home % SHARD_COUNT][kind as usize][free_pools % POOLS_PER_ARENA]
    }

    #[inline]
    fn unlink_first(&mut self, place: &Place) -> Option<Arena> {
        let Place { home, kind, free_pools } = *place;
        let (home, index) = (home % SHARD_COUNT, free_pools % POOLS_PER_ARENA);
        let first = &mut self.lists[home][kind as usize][index];
        let arena = (*first)?;
        let next = arena.header().next.get();
        *first = next;
        match next {
            Some(second) => second.header().previous.set(None),
            None => self.nonempty[kind as usize][home] &= !(1 << index),
        }
        debug_check!(arena.free_pools() == free_pools, "free pools miscounted", free_pools);
        Some(arena)
    }

    /// A bit for each number of free pools with which any arena has an idle one.
    pub(super) fn with_idle(&self) -> u64 {
        self.of_all(Kind::Idle)
    }

    fn of_all(&self, kind: Kind) -> u64 {
        let mut of_all = 0;
        for of_home in &self.nonempty[kind as usize] {
            of_all |= of_home;
        }
        of_all
    }

    /// The first arena of a home with so many free pools of which one is idle.
    pub(super) fn first_idle(&self, home: Shard, free_pools: usize) -> Option<Arena> {
        self.lists[home.index() % SHARD_COUNT][Kind::Idle as usize][free_pools % POOLS_PER_ARENA]
    }

    /// An empty arena that need not stay, rather one with an idle pool; of its home, the one that became empty last.
    pub(super) fn first_empty(&self) -> Option<Arena> {
        let idle = self.fullest_of_all(Kind::Idle, self.emptied, EMPTY);
        let place = idle.or_else(|| self.fullest_of_all(Kind::Dry, self.emptied, EMPTY))?;
        self.first_at(&place)
    }

    /// The empty arena that has stayed for longest since it was offered to the system.
    pub(super) fn first_staying(&self) -> Option<Arena> {
        self.staying
    }

    /// The list that an arena with so many free pools belongs into, and its bit. Whoever calls knows how many: to count
    /// them takes as long as all else.
    fn list_of(&mut self, arena: Arena, free_pools: usize) -> (&mut Option<Arena>, &mut u64, u64) {
        debug_check!(arena.free_pools() == free_pools, "free pools miscounted", free_pools);
        // Both are in range, so the remainders change nothing but the proof.
        let (home, index) = (arena.home().index() % SHARD_COUNT, free_pools % POOLS_PER_ARENA);
        let kind = kind_of(arena) as usize;
        (&mut self.lists[home][kind][index], &mut self.nonempty[kind][home], 1 << index)
    }

    /// Links an arena that has so many free pools, at least one.
    pub(super) fn insert(&mut self, arena: Arena, free_pools: usize) {
        if free_pools == BLOCK_POOLS_PER_ARENA {
            self.emptied = arena.home();
        }
        if arena.stays() {
            self.insert_staying(arena);
            return;
        }
        let (first, nonempty, bit) = self.list_of(arena, free_pools);
        arena.header().previous.set(None);
        arena.header().next.set(*first);
        if let Some(second) = *first {
            second.header().previous.set(Some(arena));
        }
        *first = Some(arena);
        *nonempty |= bit;
    }

    /// Unlinks an arena that has so many free pools, at least one; they, which of them are resident, and its home are
    /// still those that it was linked with.
    pub(super) fn remove(&mut self, arena: Arena, free_pools: usize) {
        if arena.stays() {
            self.remove_staying(arena);
            return;
        }
        let (first, nonempty, bit) = self.list_of(arena, free_pools);
        let (next, previous) = (arena.header().next.get(), arena.header().previous.get());
        match previous {
            Some(before) => before.header().next.set(next),
            None => {
                *first = next;
                if next.is_none() {
                    *nonempty &= !bit;
                }
            }
        }
        if let Some(after) = next {
            after.header().previous.set(previous);
        }
    }

    #[cold]
    fn insert_staying(&mut self, arena: Arena) {
        let last = self.last_staying.replace(arena);
        arena.header().previous.set(last);
        arena.header().next.set(None);
        match last {
            Some(last) => last.header().next.set(Some(arena)),
            None => self.staying = Some(arena),
        }
    }

    #[cold]
    fn remove_staying(&mut self, arena: Arena) {
        let (next, previous) = (arena.header().next.get(), arena.header().previous.get());
        match previous {
            Some(before) => before.header().next.set(next),
            None => self.staying = next,
        }
        match next {
            Some(after) => after.header().previous.set(previous),
            None => self.last_staying = previous,
        }
    }

    /// What the lists hold, if they are in order.
    pub(super) fn linked(&self) -> Option<Linked> {
        let mut linked = Linked::default();
        for home in Shard::all() {
            for kind in KINDS {
                for free_pools in 0..POOLS_PER_ARENA {
                    let place = Place { home: home.index(), kind, free_pools };
                    self.walk_list(&place, &mut linked)?;
                }
            }
        }
        let staying = successors(self.staying, |arena| arena.header().next.get());
        for arena in staying {
            if !arena.stays() || !arena.is_valid() {
                return None;
            }
            linked.empty += 1;
            linked.staying += 1;
        }
        Some(linked)
    }

    /// Adds what one list holds, if it is in order.
    fn walk_list(&self, place: &Place, linked: &mut Linked) -> Option<()> {
        let mut cursor = self.first_at(place);
        let nonempty = self.nonempty[place.kind as usize][place.home];
        let is_marked = nonempty >> place.free_pools & 1 == 1;
        if cursor.is_some() != is_marked || (place.free_pools == 0 && is_marked) {
            return None;
        }
        while let Some(arena) = cursor {
            let (home, kind) = (arena.home().index(), kind_of(arena));
            let belongs = *place == Place { home, kind, free_pools: arena.free_pools() };
            if !belongs || arena.stays() || !arena.is_valid() {
                return None;
            }
            linked.empty += usize::from(arena.is_empty());
            cursor = arena.header().next.get();
        }
        Some(())
    }

    /// Spoils the order, or mends it again.
    #[cfg(test)]
    pub(super) fn flip_mark(&mut self, free_pools: usize) {
        self.nonempty[Kind::Idle as usize][0] ^= 1 << free_pools;
    }
}
