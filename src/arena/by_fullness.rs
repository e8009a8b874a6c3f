//! Arenas that have free pools, in lists by how full they are.
//!
//! Each arena has a *home*, the shard that took its first pool since it was last empty. A shard takes pools of its own
//! arenas as long as memory is idle there, so that threads which free what they allocated hand each other neither pages nor
//! the lines of headers; but of any other before it touches memory that is not resident yet.

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
    /// Of empty ones that stay mapped.
    Staying,
}

const KINDS: [Kind; 3] = [Kind::Idle, Kind::Dry, Kind::Staying];

/// Of which number of free pools an arena is empty, by the bit of its lists; and the others.
const EMPTY: u64 = 1 << BLOCK_POOLS_PER_ARENA;
const IN_USE: u64 = !EMPTY;

fn kind_of(arena: Arena) -> Kind {
    match arena.idle_pools() {
        _ if arena.stays() => Kind::Staying,
        0 => Kind::Dry,
        _ => Kind::Idle,
    }
}

/// The shard in whose lists an arena is: those that stay are in one list.
fn home_of(arena: Arena) -> usize {
    let home = if arena.stays() { Shard::FIRST } else { arena.home() };
    // In range, so the remainder changes nothing but the proof.
    home.index() % SHARD_COUNT
}

/// What the lists hold, found by a walk through all of them.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Linked {
    pub(super) empty: usize,
    pub(super) staying: usize,
}

/// The lists.
///
/// Invariants: `lists[home][kind as usize][n]` holds the arenas of that home and kind with `n` free pools; bit `n` of
/// `nonempty[kind as usize][home]` is set if and only if it has one.
///
/// What each process touches lies in front.
#[repr(C)]
pub(super) struct ByFullness {
    nonempty: [[u64; SHARD_COUNT]; KINDS.len()],
    /// The home of the arena that became empty last.
    emptied: Shard,
    /// The last of those that stay, behind which others come, so that all are offered to the system in turn.
    last_staying: Option<Arena>,
    lists: [[[Option<Arena>; POOLS_PER_ARENA]; KINDS.len()]; SHARD_COUNT],
}

impl ByFullness {
    pub(super) const EMPTY: Self = Self {
        nonempty: [[0; SHARD_COUNT]; KINDS.len()],
        emptied: Shard::FIRST,
        last_staying: None,
        lists: [[[None; POOLS_PER_ARENA]; KINDS.len()]; SHARD_COUNT],
    };

    /// The arena that `shard` is to take a pool of, and how many free pools it has: the fullest of its own with an
    /// idle one, else one of another shard with memory, rather an empty one; where no pool is idle, the fullest of those
    /// in use, its own first, then an empty one, and at last one that stays.
    #[inline]
    pub(super) fn fullest_for(&self, shard: Shard) -> Option<(Arena, usize)> {
        self.fullest(Kind::Idle, shard, u64::MAX).or_else(|| self.fullest_elsewhere(shard))
    }

    /// As [`ByFullness::fullest_for`], where none of the shard's own arenas has an idle pool.
    fn fullest_elsewhere(&self, shard: Shard) -> Option<(Arena, usize)> {
        self.fullest_of_all(Kind::Idle, shard, EMPTY)
            .or_else(|| self.fullest_of_all(Kind::Idle, shard, IN_USE))
            .or_else(|| self.fullest_of_all(Kind::Dry, shard, IN_USE))
            .or_else(|| self.fullest_of_all(Kind::Dry, shard, EMPTY))
            .or_else(|| self.fullest(Kind::Staying, Shard::FIRST, EMPTY))
    }

    /// That of the first shard that has one, from `first` on.
    fn fullest_of_all(&self, kind: Kind, first: Shard, among: u64) -> Option<(Arena, usize)> {
        // Most often none has, or just the first.
        if self.nonempty[kind as usize].iter().fold(0, |of_all, of_home| of_all | of_home) & among
            == 0
        {
            return None;
        }
        let mut homes = (0..SHARD_COUNT).map(|step| Shard::at(first.index() + step));
        homes.find_map(|home| self.fullest(kind, home, among))
    }

    /// The fullest of a shard's arenas, and how many free pools it has, if that is among those of which a bit is set.
    #[inline]
    fn fullest(&self, kind: Kind, home: Shard, among: u64) -> Option<(Arena, usize)> {
        let home = home.index() % SHARD_COUNT;
        // Of no bit it is the number of bits, where no list is.
        let free_pools = (self.nonempty[kind as usize][home] & among).trailing_zeros() as usize;
        let arena = self.lists[home][kind as usize].get(free_pools).copied().flatten()?;
        Some((arena, free_pools))
    }

    /// The first arena of a home with so many free pools of which one is idle.
    pub(super) fn first_idle(&self, home: Shard, free_pools: usize) -> Option<Arena> {
        self.lists[home.index() % SHARD_COUNT][Kind::Idle as usize][free_pools % POOLS_PER_ARENA]
    }

    /// An empty arena that need not stay, rather one with an idle pool; of its home, the one that became empty last.
    pub(super) fn first_empty(&self) -> Option<Arena> {
        let first = |kind: &Kind| self.fullest_of_all(*kind, self.emptied, EMPTY);
        [Kind::Idle, Kind::Dry].iter().find_map(first).map(|(arena, _)| arena)
    }

    /// The empty arena that has stayed for longest since it was offered to the system.
    pub(super) fn first_staying(&self) -> Option<Arena> {
        self.fullest(Kind::Staying, Shard::FIRST, EMPTY).map(|(arena, _)| arena)
    }

    /// The list that an arena with so many free pools belongs into, and its bit. Whoever calls knows how many: to count
    /// them takes as long as all else.
    fn list_of(&mut self, arena: Arena, free_pools: usize) -> (&mut Option<Arena>, &mut u64, u64) {
        debug_check!(arena.free_pools() == free_pools, "free pools miscounted", free_pools);
        let (index, kind, home) = (free_pools % POOLS_PER_ARENA, kind_of(arena), home_of(arena));
        (
            &mut self.lists[home][kind as usize][index],
            &mut self.nonempty[kind as usize][home],
            1 << index,
        )
    }

    /// Links an arena that has so many free pools, at least one.
    pub(super) fn insert(&mut self, arena: Arena, free_pools: usize) {
        if free_pools == BLOCK_POOLS_PER_ARENA {
            self.emptied = arena.home();
        }
        if arena.stays()
            && let Some(last) = self.last_staying.replace(arena)
        {
            last.header().next.set(Some(arena));
            arena.header().previous.set(Some(last));
            arena.header().next.set(None);
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
        if self.last_staying == Some(arena) {
            self.last_staying = arena.header().previous.get();
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

    /// What the lists hold, if they are in order.
    pub(super) fn linked(&self) -> Option<Linked> {
        let mut linked = Linked::default();
        for home in Shard::all() {
            for kind in KINDS {
                for free_pools in 0..POOLS_PER_ARENA {
                    self.walk_list((home.index(), kind, free_pools), &mut linked)?;
                }
            }
        }
        Some(linked)
    }

    /// Adds what one list holds, if it is in order.
    fn walk_list(&self, place: (usize, Kind, usize), linked: &mut Linked) -> Option<()> {
        let (home, kind, free_pools) = place;
        let mut cursor = self.lists[home][kind as usize][free_pools];
        let is_marked = self.nonempty[kind as usize][home] >> free_pools & 1 == 1;
        if cursor.is_some() != is_marked || (free_pools == 0 && is_marked) {
            return None;
        }
        while let Some(arena) = cursor {
            if place != (home_of(arena), kind_of(arena), arena.free_pools()) || !arena.is_valid() {
                return None;
            }
            linked.empty += usize::from(arena.is_empty());
            linked.staying += usize::from(kind == Kind::Staying);
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
