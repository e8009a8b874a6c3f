//! The sizes that everything else is built on, and how they relate.
//!
//! The geometry is that of CPython's obmalloc (3.6, 64-bit): 8 bytes between size classes up to
//! 512 bytes, pools of 4 KiB, arenas of 256 KiB.
#![forbid(unsafe_code)]

mod choices;
mod depots;
mod limits;

use core::time::Duration;

use static_assertions::const_assert;

pub(crate) use choices::PressureHook;
pub use choices::{Pressure, SystemTuning};
pub(crate) use depots::{
    DEPOT_BYTES_MAX, DEPOT_LOOK_FLUSHES, DEPOT_MAGAZINES, MAPPED_PER_PILED, ONE_WAY_FLUSHES,
    SHELF_MAGAZINES, SHRUNK_PER_ARENA, SWING_BYTES_MAX, SWING_FLUSHES, SWING_LOOKS, SWING_SLACK,
    UNUSED_BYTES_PER_LOOK_MAX, WENT_PER_PILED,
};
pub(crate) use limits::{ArenaBounds, CacheLimits};

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

/// Bytes of a huge page, and of the arenas that are mapped together to be one. Also their alignment.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Pools that fit into an arena, the one that holds the headers included.
pub const POOLS_PER_ARENA: usize = ARENA_BYTES / POOL_BYTES;

/// Pools of an arena that hold blocks.
pub const BLOCK_POOLS_PER_ARENA: usize = POOLS_PER_ARENA - 1;

/// Bytes of blocks that a full magazine aims at, for the classes where the block limits allow it.
pub const MAGAZINE_BYTES: usize = 4 * 1024;

/// Fewest blocks of a full-grown magazine, as far as its bytes allow, unless a thread may keep fewer bytes than by
/// default: the way to the heap is as long for few blocks as for many.
pub const MAGAZINE_BLOCKS_MIN: usize = 64;

/// Bytes of blocks in any full magazine at most.
pub const MAGAZINE_BYTES_MAX: usize = 16 * 1024;

/// Most blocks of a magazine.
pub const MAGAZINE_BLOCKS_MAX: i32 = 512;

/// Blocks of a thread's first magazine of a class. It doubles with each exchange with the heap, so
/// that a thread that allocates little holds little.
pub const MAGAZINE_BLOCKS_FIRST: i32 = 8;

/// Virgin blocks that a thread links at once; they lie next to each other, in a page that is about to
/// be touched anyway. Most pools have no more.
pub const FRESH_BATCH_BLOCKS: u32 = 128;

/// Shards of the heap. Threads are spread over them, so that as many can work without meeting; more
/// would leave more pools half used.
pub const SHARD_COUNT: usize = 8;

/// Runs of blocks that go back to their pools at most while a lock is held once, to bound that time, and what lies on
/// the stack meanwhile: in a debug build few bytes of the smallest one are left.
pub const GIVE_RUNS_MAX: usize = 12;

/// Blocks of one pool that follow each other, in the mean of a magazine, where these come back in order.
pub const ORDERED_BLOCKS_PER_RUN: u32 = 4;

/// Where they do not, a magazine loses room for so many each time,
pub const UNORDERED_SHRINK_BLOCKS: i32 = 4;

/// but keeps it for so many, if it had it: the line of a block that was out of all caches is still on its way from memory
/// when some more have been freed, and who walks through the magazine by then waits for it.
pub const UNORDERED_BLOCKS_LEAST: i32 = 32;

/// Used pools whose free blocks one refill gathers at most, to bound the time under the lock.
pub const REFILL_POOLS_MAX: usize = 16;

/// Idle memory that stays before the program has shown what it needs, in arenas: 4 MiB.
pub const EMPTY_ARENAS_FIRST: usize = 16;

/// Idle memory that stays once it has been of little use for long, in arenas: 1 MiB.
pub const EMPTY_ARENAS_LEAST: usize = 4;

/// Empty arenas that stay mapped at most, if few are in use and the reserve has not grown beyond: 64 MiB.
pub const EMPTY_ARENAS_MAX: usize = 256;

/// Idle pools between used ones that stay at most, if few arenas are in use, as above, in arenas: 16 MiB.
pub const IDLE_BETWEEN_ARENAS_MAX: usize = 64;

/// In a large heap, one empty arena may stay mapped for each so many in use.
pub const USED_ARENAS_PER_EMPTY: usize = 8;

/// Runs of arenas side by side that releases may make at most: a quarter of the mappings that Linux gives a process.
pub const ARENA_RUNS_MAX: usize = 16 * 1024;

/// Empty arenas that stayed mapped lest there be more runs, and are offered again at one look, at most.
pub const STAYING_PER_LOOK_MAX: usize = 64;

/// An arena that becomes empty so soon after its first pool was taken may be wanted again at once.
pub const YOUNG_MILLISECONDS: usize = 1000;

/// Time between two looks at how much idle memory has been of use.
pub const LOOK_MILLISECONDS: usize = 100;

/// A thread's time that is before another's by less is late; by more, it is later, and the clock went round meanwhile.
pub const LATE_MILLISECONDS_MAX: usize = 60_000;

/// The reserve loses one part of so many at a look that finds little need for it.
pub const RESERVE_FADES_IN_LOOKS: usize = 16;

/// Pools whose memory goes at once, at most, to bound the time that it takes: 4 MiB, and at worst as many calls to the
/// system as pools. What is left goes at the next exchanges.
pub const POOLS_AT_ONCE_MAX: usize = 1024;

/// So many more for each millisecond since the last look, for one that goes on with the one before: programs that do little
/// exchange little. Of half a microsecond each, or one and a half where each is a run of its own, these are at most a
/// twentieth of the time.
pub const POOLS_PER_MILLISECOND: usize = 32;

/// And so many at one look, at most, which is what may go at each that time has brought: 16 MiB, which take two to six
/// milliseconds.
pub const POOLS_PER_LOOK_MAX: usize = 4096;

/// Arenas whose idle pools are claimed at most while the lock is held once.
pub const CLAIMS_MAX: usize = 16;

/// Idle pools of an arena that are worth it, where not all are to go;
pub const CLAIM_IDLE_POOLS_MIN: usize = 8;

/// and arenas that are then looked at, at most, while the lock is held once: most of them have as many, where several times
/// what is used is idle.
pub const CLAIM_STEPS_MAX: usize = 256;

/// Where pools only come back, so many times as many may be idle as are used: they may be whole arenas soon.
pub const IDLE_PER_USED_AMID_DROP: usize = 5;

/// Pools that come back for each one that is taken, at least, where they only come back.
pub const GIVEN_PER_TAKEN_AMID_DROP: usize = 16;

/// From so many mapped arenas on a new one is populated at once, since page after page would be touched in
/// a moment, at about twice the cost: 8 MiB, of which what is not touched after all is a small part.
pub const POPULATED_FROM_ARENAS: usize = 32;

/// Arenas that a heap has grown by, at least, when it says that it has grown: 16 MiB.
pub const ARENAS_PER_GROWTH_MIN: usize = 64;

/// In a large heap, one arena of growth for each so many that are mapped.
pub const ARENAS_PER_GROWN_ARENA: usize = 4;

/// The largest block that is kept when it is freed instead of going back to the system allocator.
pub const LARGE_CACHED_MAX: usize = 32 * 1024;

/// Classes of large blocks between one power of two and the next: as many equal steps, so that less
/// than a ninth of a block, and a seventeenth in the mean, is lost to rounding.
pub const LARGE_CLASSES_PER_DOUBLING: usize = 8;

/// Number of classes of large blocks.
pub const LARGE_CLASS_COUNT: usize =
    LARGE_CLASSES_PER_DOUBLING * (LARGE_CACHED_MAX / SMALL_MAX).ilog2() as usize;

/// Alignment of every block of a large class: what C's `malloc` promises.
pub const LARGE_ALIGNMENT: usize = 2 * size_of::<usize>();

/// Bytes of large blocks that a full magazine aims at.
pub const LARGE_MAGAZINE_BYTES: usize = 64 * 1024;

/// Fewest blocks of a full-grown magazine of large blocks.
pub const LARGE_MAGAZINE_BLOCKS_MIN: i32 = 2;

/// Most blocks of a magazine of large blocks.
pub const LARGE_MAGAZINE_BLOCKS_MAX: i32 = 64;

/// Full magazines that a depot of one class of large blocks holds at most.
pub const LARGE_DEPOT_MAGAZINES: usize = 64;

/// Bytes of large blocks that the depots may always hold, and no more before the program has shown what it needs.
pub const LARGE_DEPOT_BYTES_MIN: usize = 4 << 20;

/// Bytes that they hold at most, however much was given back for want of room and taken again.
pub const LARGE_DEPOT_BYTES_MAX: usize = 64 << 20;

/// What the depots held at every one of so many looks, one after the other, was of no use.
pub const LARGE_DEPOT_LOOKS: usize = 5;

/// Magazines that leave the depots for that at one look, at most, to bound the time that it takes: 4 MiB.
pub const LARGE_MAGAZINES_PER_LOOK_MAX: usize = 64;

/// In any case, the depots may hold one byte for each so many that were taken from the system allocator.
pub const LARGE_TAKEN_PER_DEPOT_BYTE: usize = 32;

/// Bytes that a thread takes or gives, in single blocks, before the others learn of it.
pub const LARGE_TAKEN_UNREPORTED_MAX: isize = 64 * 1024;

/// The system allocator has one arena for so many processors, and at least one. By itself glibc has up to eight
/// for each, and what is free in one is of no use to the others; but here most blocks are a thread's own before they
/// reach any.
pub const CORES_PER_SYSTEM_ARENA: usize = 4;

/// What the system allocator holds of freed blocks, at the top of its heap, before the program has shown that
/// it swings.
pub const HELD_BYTES_FIRST: usize = if usize::BITS == 64 { 4 << 20 } else { 512 << 10 };

/// What it holds at most, if as much is freed and taken again time after time; and what the reserve of idle pools does.
pub const HELD_BYTES_MAX: usize = 1 << 30;

/// Times that as much is freed and taken again before it is held. Where some is held already, once is enough for more.
pub const SWINGS_PER_FIRST_HOLD: usize = 2;

/// What the system allocator holds for nothing is worth a trim from so many bytes on,
pub const SURPLUS_BYTES_MIN: usize = 4 << 20;

/// and if it is at least one byte for each so many that were in use,
pub const SURPLUS_PER_DEMAND: usize = 4;

/// and has been of no use for so many looks.
pub const SURPLUS_LOOKS: usize = 5;

/// A larger request that the system refuses is no reason to give back what is cached: no memory that
/// could come of it is as large. 1 TiB, or 1 GiB of 32 bits.
pub const REQUEST_WORTH_A_TRIM_MAX: usize = 1 << (if usize::BITS == 64 { 40 } else { 30 });

/// Bytes that each thread may keep in free blocks, unless a program says otherwise.
pub const CACHE_BYTES_DEFAULT: usize = 6 << 20;

/// A thread's magazine of small blocks aims at one byte for each so many that the thread may keep: 64
/// classes of two magazines, most with more than they aim at, are then less than half of that.
pub const CACHE_BYTES_PER_MAGAZINE_BYTE: usize = 1536;

/// The shortest time after which a program counts as idle: several steps of the clock.
pub const BACKGROUND_PURGE_MIN: Duration = Duration::from_millis(20);

/// The prefix of all environment variables of this allocator.
pub const VARIABLE_PREFIX: &[u8] = b"OBMALLOC_";

const_assert!(ALIGNMENT >= align_of::<usize>() && ALIGNMENT >= size_of::<usize>());
const_assert!(SMALL_MAX.is_multiple_of(ALIGNMENT) && SMALL_MAX <= POOL_BYTES / 2);
const_assert!(ARENA_BYTES.is_power_of_two() && POOL_BYTES.is_power_of_two());
// Sets of pools are the bits of a `u64`.
const_assert!(POOLS_PER_ARENA == u64::BITS as usize);
// A whole arena is mapped and released, so the page size of the system matters to nothing else:
// 4, 16 and 64 KiB all divide it.
const_assert!(ARENA_BYTES.is_multiple_of(64 * 1024));
const_assert!(HUGE_PAGE_BYTES.is_multiple_of(ARENA_BYTES) && HUGE_PAGE_BYTES.is_power_of_two());
const_assert!(MAGAZINE_BYTES_MAX / SMALL_MAX >= MAGAZINE_BLOCKS_FIRST as usize);
const_assert!(MAGAZINE_BYTES / ALIGNMENT <= MAGAZINE_BLOCKS_MAX as usize);
const_assert!(MAGAZINE_BYTES <= MAGAZINE_BYTES_MAX);
// The classes of large blocks go on where pools end, up to a power of two.
const_assert!(SMALL_MAX.is_power_of_two() && LARGE_CACHED_MAX.is_power_of_two());
const_assert!(LARGE_CLASSES_PER_DOUBLING.is_power_of_two());
const_assert!((SMALL_MAX / LARGE_CLASSES_PER_DOUBLING).is_multiple_of(LARGE_ALIGNMENT));
const_assert!(LARGE_MAGAZINE_BLOCKS_MIN <= LARGE_MAGAZINE_BLOCKS_MAX);
const_assert!(LARGE_DEPOT_BYTES_MIN <= LARGE_DEPOT_BYTES_MAX);
const_assert!(CACHE_BYTES_DEFAULT / CACHE_BYTES_PER_MAGAZINE_BYTE == MAGAZINE_BYTES);

/// What a program has chosen, by methods of its [`Obmalloc`](crate::Obmalloc) or in its environment.
///
/// [`Obmalloc::config`](crate::Obmalloc::config) returns the one in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    cache_bytes: usize,
    system_tuning: SystemTuning,
    /// Whether this crate sees what the program has in use of the system allocator.
    counts_large: bool,
    limit: Option<usize>,
    pressure: Option<PressureHook>,
    background_purge: Option<Duration>,
    huge_pages_from: Option<usize>,
    stats_at_exit: bool,
}

impl Config {
    pub(crate) const DEFAULT: Self = Self {
        cache_bytes: CACHE_BYTES_DEFAULT,
        system_tuning: SystemTuning::Off,
        counts_large: false,
        limit: None,
        pressure: None,
        background_purge: None,
        huge_pages_from: None,
        stats_at_exit: false,
    };

    /// What is chosen at first where large blocks are the system allocator's.
    pub(crate) const OVER_SYSTEM: Self =
        Self { system_tuning: SystemTuning::Early, counts_large: true, ..Self::DEFAULT };

    /// What is chosen at first in the library to preload, whose large blocks are glibc's, and counted only if very large.
    #[cfg(feature = "preload")]
    pub(crate) const PRELOADED: Self = Self { system_tuning: SystemTuning::Early, ..Self::DEFAULT };

    /// Bytes that each thread may keep in free blocks.
    #[must_use]
    pub const fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    /// How far the system allocator holds on to memory.
    #[must_use]
    pub const fn system_tuning(&self) -> SystemTuning {
        self.system_tuning
    }

    /// Bytes of arenas that may be mapped, if there is a bound.
    #[must_use]
    pub const fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Bytes of mapped arenas from which on a hook is called, if there is one.
    #[must_use]
    pub const fn soft_limit(&self) -> Option<usize> {
        match self.pressure {
            Some(hook) => Some(hook.soft_limit),
            None => None,
        }
    }

    /// The time after which a thread gives back what an idle program does not need, if there is one.
    #[must_use]
    pub const fn background_purge(&self) -> Option<Duration> {
        self.background_purge
    }

    /// Bytes of mapped arenas from which on more of them are asked for in huge pages, if ever.
    #[must_use]
    pub const fn huge_pages_from(&self) -> Option<usize> {
        self.huge_pages_from
    }

    /// Whether the statistics are printed on stderr when the process exits.
    #[must_use]
    pub const fn stats_at_exit(&self) -> bool {
        self.stats_at_exit
    }

    pub(crate) const fn pressure(&self) -> Option<PressureHook> {
        self.pressure
    }

    /// Whether the system allocator is to have few arenas, since magazines lie before it.
    pub(crate) fn limits_system_arenas(&self) -> bool {
        self.system_tuning != SystemTuning::Off && self.counts_large
    }

    /// Whether all large blocks are seen here, with magazines before the system allocator.
    pub(crate) fn counts_large(&self) -> bool {
        self.counts_large
    }

    /// Whether the system allocator is to be tuned early when the process starts: later nobody would see when.
    pub(crate) fn tunes_at_start(&self) -> bool {
        self.system_tuning == SystemTuning::Early && !self.counts_large
    }

    pub(crate) const fn with_cache_bytes(self, cache_bytes: usize) -> Self {
        Self { cache_bytes, ..self }
    }

    pub(crate) const fn with_system_tuning(self, system_tuning: SystemTuning) -> Self {
        Self { system_tuning, ..self }
    }

    pub(crate) const fn with_limit(self, bytes: usize) -> Self {
        Self { limit: Some(bytes), ..self }
    }

    pub(crate) const fn with_pressure(self, hook: PressureHook) -> Self {
        Self { pressure: Some(hook), ..self }
    }

    pub(crate) const fn with_background_purge(self, after: Duration) -> Self {
        let shorter = after.as_millis() < BACKGROUND_PURGE_MIN.as_millis();
        let background_purge = match (after.is_zero(), shorter) {
            (true, _) => None,
            (_, true) => Some(BACKGROUND_PURGE_MIN),
            (_, false) => Some(after),
        };
        Self { background_purge, ..self }
    }

    pub(crate) const fn with_huge_pages(self, from_bytes: usize) -> Self {
        Self { huge_pages_from: Some(from_bytes), ..self }
    }

    pub(crate) const fn with_stats_at_exit(self, stats_at_exit: bool) -> Self {
        Self { stats_at_exit, ..self }
    }

    /// This configuration with what an environment variable, named without its prefix, says; or why
    /// that says nothing.
    pub(crate) fn with_variable(self, name: &[u8], value: &[u8]) -> Result<Self, &'static str> {
        let bytes =
            || parse_bytes(value).ok_or("is not a number of bytes, such as 65536, 64K, 2M or 1G");
        let switch = || match value {
            b"0" => Ok(false),
            b"1" => Ok(true),
            _ => Err("is neither 0 nor 1"),
        };
        let tuning = || match value {
            b"off" => Ok(SystemTuning::Off),
            b"early" => Ok(SystemTuning::Early),
            b"full" => Ok(SystemTuning::Full),
            _ => Err("is none of off, early and full"),
        };
        let milliseconds = || {
            let number = parse_number(value).and_then(|number| u32::try_from(number).ok());
            number.ok_or("is not a number of milliseconds, such as 500")
        };
        match name {
            b"CACHE_BYTES" => Ok(self.with_cache_bytes(bytes()?)),
            b"SYSTEM_TUNING" => Ok(self.with_system_tuning(tuning()?)),
            b"LIMIT" => Ok(self.with_limit(bytes()?)),
            b"BACKGROUND_PURGE" => {
                let after = Duration::from_millis(milliseconds()?.into());
                Ok(self.with_background_purge(after))
            }
            b"HUGE_PAGES" => Ok(self.with_huge_pages(bytes()?)),
            b"STATS" => Ok(self.with_stats_at_exit(switch()?)),
            _ => Err("is no variable of this allocator"),
        }
    }

    pub(crate) fn cache_limits(&self) -> CacheLimits {
        CacheLimits {
            magazine_bytes: MAGAZINE_BYTES.min(self.cache_bytes / CACHE_BYTES_PER_MAGAZINE_BYTE),
            // Less than that, and the classes of a program that uses all sizes up to some KiB take each
            // other's room at each exchange.
            large_bytes: self.cache_bytes / 2,
        }
    }

    /// What the arenas are to keep to.
    pub(crate) fn arena_bounds(&self) -> ArenaBounds {
        ArenaBounds {
            most: self.limit.map(|bytes| bytes / ARENA_BYTES),
            soft: self.pressure.map(|hook| hook.soft_limit / ARENA_BYTES),
            huge_from: self.huge_pages_from.map(|bytes| bytes / ARENA_BYTES),
            is_watched: self.background_purge.is_some(),
        }
    }
}

/// A whole number, with one letter behind it that multiplies by a power of 1024, or without.
fn parse_bytes(text: &[u8]) -> Option<usize> {
    let (digits, shift) = match text {
        [digits @ .., b'K'] => (digits, 10),
        [digits @ .., b'M'] => (digits, 20),
        [digits @ .., b'G'] => (digits, 30),
        digits => (digits, 0),
    };
    parse_number(digits)?.checked_mul(1 << shift)
}

/// A whole number.
fn parse_number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_usize, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| usize::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests;
