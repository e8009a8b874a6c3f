//! Pools: 4 KiB of one arena, cut into blocks of one class. The states are CPython's:
//!
//! ```text
//!   empty --(arena gives it, init)--> used --(last block carved or taken)--> full
//!     ^                                |  ^                                   |
//!     +---(last live block given)------+  +--------(a block given)------------+
//! ```
//!
//! A used pool is in the list of its shard and class, a full one is linked nowhere, an empty one is its
//! arena's. What is known of it lies outside of the pool, in the arena's first pool, so that the blocks of a
//! pool have its page for themselves and user data shares no cache line with it:
//!
//! ```text
//!   arena: | the arena's header ... | 63 headers of pools | 63 pools' links | ... | pool 1 | pool 2 | ... | pool 63 |
//! ```
//!
//! A header is small, for each block that goes back alone touches another one: those of 64 MiB of blocks fill
//! 256 KiB, and stay in the processor's second cache while the blocks pass through it. The links are touched only
//! where a pool becomes used, full or empty.
//!
//! All of this is called with the lock of the pool's shard and class held, or by the one thread that
//! holds the pool while it is in no list; but `shard` by whoever owns a live block.

mod list;

use core::cell::Cell;
use core::num::NonZero;
use core::ptr::NonNull;

use static_assertions::const_assert;

use crate::block::{Block, Chain, Magazine, address_of, link, next_of};
use crate::config::{ARENA_BYTES, POOL_BYTES, POOLS_PER_ARENA, SHARD_COUNT};
use crate::os::{abort_corrupt, debug_check};
use crate::size_class::SizeClass;
pub(crate) use list::PoolList;

/// A part of the heap, by its index; a pool belongs to one as long as it is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard(u8);

impl Shard {
    pub(crate) const FIRST: Self = Self(0);

    /// All shards, in their order.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..SHARD_COUNT as u8).map(Self)
    }

    /// The shard at a place in an array with an entry for each.
    pub(crate) const fn at(index: usize) -> Self {
        Self((index % SHARD_COUNT) as u8)
    }

    /// Its place in an array with an entry for each shard.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What is known of a pool.
///
/// Invariants, with `capacity` the blocks that a pool of this class holds:
///
/// ```text
///   free_count <= carved <= capacity        live = carved - free_count
///   empty <=> live == 0       full <=> free_count == 0 && carved == capacity       else used
///   the chain from `free` has `free_count` blocks and ends with `free_tail`
/// ```
///
/// A block in a thread cache or a depot is live here.
///
/// Blocks are known by their distance in bytes from the pool's start.
#[repr(C, align(16))]
struct Header {
    /// The first block of the free chain, and the last; meaningless where that is empty.
    free: Cell<u16>,
    free_tail: Cell<u16>,
    free_count: Cell<u16>,
    /// Blocks that have been handed out at least once, from the first on.
    carved: Cell<u16>,
    capacity: Cell<u16>,
    /// The number of the pool's class; zero until its first use.
    class: Cell<u8>,
    /// Whether the blocks that were never carved are known to be zero.
    zeroed: Cell<bool>,
    /// Does not change while any block is live, so that the owner of one may read it without a lock.
    shard: Cell<Shard>,
}

/// The pools before and after one in its list.
#[repr(C)]
struct Links {
    next: Cell<Option<Pool>>,
    previous: Cell<Option<Pool>>,
}

/// Where in an arena the headers of pools lie, as if the first pool had one: what is before them is the arena's.
pub(crate) const HEADERS_OFFSET: usize = size_of::<Header>() * POOLS_PER_ARENA;

/// And where their links do.
const LINKS_OFFSET: usize = 2 * HEADERS_OFFSET;

const_assert!(SHARD_COUNT > 0 && SHARD_COUNT <= u8::MAX as usize);
const_assert!(POOL_BYTES <= u16::MAX as usize);
const _: () = assert!(size_of::<Header>().is_power_of_two());
const _: () = assert!(size_of::<Links>() <= size_of::<Header>());
const _: () = assert!(LINKS_OFFSET + size_of::<Links>() * POOLS_PER_ARENA <= POOL_BYTES);

/// What blocks that came back have made of their pool.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    pub(crate) was_full: bool,
    pub(crate) is_empty: bool,
}

/// A pool, by its header. Valid as long as its arena is mapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool(NonNull<Header>);

/// [`HEADERS_OFFSET`], so that the address of a header is not zero by its type.
const NONZERO_HEADERS_OFFSET: NonZero<usize> = NonZero::new(HEADERS_OFFSET).unwrap();

/// How far behind the start of its pool a block is, in bytes.
fn offset_of(block: NonNull<Block>) -> u16 {
    (address_of(block) % POOL_BYTES) as u16
}

/// The block so many bytes behind the start of the pool that `block` lies in, by a pointer that is valid for as much.
fn in_pool_of(block: NonNull<Block>, offset: u16) -> NonNull<Block> {
    block.map_addr(|address| {
        let start = address.get() - address.get() % POOL_BYTES;
        NonZero::new(start + usize::from(offset)).unwrap_or(address)
    })
}

impl Pool {
    /// The pool that `block` lies in.
    ///
    /// # Safety
    ///
    /// - `block` lies in a mapped arena, and the pointer may be used for all of it.
    /// - The pool is used as the head of this file demands.
    pub(crate) unsafe fn of(block: NonNull<Block>) -> Self {
        Self(
            block
                .cast::<u8>()
                .map_addr(|address| {
                    let offset = address.get() % ARENA_BYTES;
                    let header = (offset / POOL_BYTES) * size_of::<Header>();
                    debug_check!(header != 0, "a block in the pool of headers", address.get());
                    // Of bits that are apart. None of them makes zero, as the type says.
                    (address.get() - offset) | header | NONZERO_HEADERS_OFFSET
                })
                .cast(),
        )
    }

    /// The pool with the given index, from 1 to 63, of the arena at `arena`.
    ///
    /// # Safety
    ///
    /// - `arena` is the start of a mapped arena, valid for all of it, and `index` is in range.
    /// - The pool is used as the head of this file demands.
    pub(crate) unsafe fn at(arena: NonNull<u8>, index: usize) -> Self {
        // SAFETY: the caller owes the range, so the header lies inside the arena.
        Self(unsafe { arena.add(HEADERS_OFFSET + index * size_of::<Header>()) }.cast())
    }

    /// Start of the arena that the pool lies in.
    pub(crate) fn arena(self) -> NonNull<u8> {
        // SAFETY: the header lies this far behind the start of its arena.
        unsafe { self.0.cast::<u8>().sub(self.offset()) }
    }

    /// Its number in the arena, from 1 to 63.
    pub(crate) fn index(self) -> usize {
        (self.offset() - HEADERS_OFFSET) / size_of::<Header>()
    }

    /// Bytes from the start of the arena to the header.
    fn offset(self) -> usize {
        self.0.as_ptr().addr() % ARENA_BYTES
    }

    fn header(&self) -> &Header {
        // SAFETY: a pool's arena is mapped, zeroed memory is a valid header, and the lock or the
        // exclusive hold that this file's head demands keeps other threads away from its cells, but
        // for that of the shard, which does not change while a block is live.
        unsafe { self.0.as_ref() }
    }

    fn links(&self) -> &Links {
        // SAFETY: all links lie this far behind their headers.
        let links = unsafe { self.0.cast::<u8>().add(LINKS_OFFSET - HEADERS_OFFSET) }.cast();
        // SAFETY: as for the header.
        unsafe { links.as_ref() }
    }

    /// The block so many bytes behind the pool's start.
    fn block_at(self, offset: u16) -> NonNull<Block> {
        // SAFETY: no offset that is noted is beyond the pool.
        unsafe { self.start().add(usize::from(offset)) }.cast()
    }

    fn start(self) -> NonNull<u8> {
        // SAFETY: the pool lies this far behind the start of its arena.
        unsafe { self.arena().add(self.index() * POOL_BYTES) }
    }

    /// Makes an empty pool one of `class` in `shard`, all of it virgin; `zeroed` says that it reads as
    /// zero.
    pub(crate) fn init(self, shard: Shard, class: SizeClass, zeroed: bool) {
        let header = self.header();
        header.free_count.set(0);
        header.carved.set(0);
        header.capacity.set(class.blocks_per_pool() as u16);
        header.class.set(class.number());
        header.zeroed.set(zeroed);
        header.shard.set(shard);
    }

    /// The shard it belongs to. Whoever owns one of its live blocks may ask, too.
    pub(crate) fn shard(self) -> Shard {
        self.header().shard.get()
    }

    /// The class that had it last; `None` until its first use.
    pub(crate) fn class(self) -> Option<SizeClass> {
        SizeClass::numbered(self.header().class.get())
    }

    /// Where it starts: a multiple of `POOL_BYTES`, at its first block or before.
    pub(crate) fn address(self) -> usize {
        self.start().as_ptr().addr()
    }

    /// Blocks that are in use, in a thread cache or in a depot.
    pub(crate) fn live(self) -> u32 {
        u32::from(self.header().carved.get() - self.header().free_count.get())
    }

    pub(crate) fn is_empty(self) -> bool {
        self.live() == 0
    }

    pub(crate) fn is_full(self) -> bool {
        self.live() == u32::from(self.header().capacity.get())
    }

    /// Carves at most `most` virgin blocks; none where all have been carved.
    pub(crate) fn carve(self, class: SizeClass, most: u32) -> FreshRange {
        let header = self.header();
        let carved = u32::from(header.carved.get());
        let count = most.min(u32::from(header.capacity.get()) - carved);
        header.carved.set((carved + count) as u16);
        let offset = class.first_block(self.address()) + carved as usize * class.bytes();
        // SAFETY: `carved` blocks of the class lie inside the pool, behind where the first does.
        let next = unsafe { self.start().add(offset) };
        FreshRange { next: Some(next), left: count, zeroed: header.zeroed.get() }
    }

    /// Takes back what is left of a range that [`Pool::carve`] gave: as virgin blocks if nothing was
    /// carved behind it since, else as free ones.
    ///
    /// # Safety
    ///
    /// - `range` was carved from this pool, and the caller gives it up.
    pub(crate) unsafe fn uncarve(self, class: SizeClass, mut range: FreshRange) -> Change {
        let header = self.header();
        let live_before = self.live();
        let first = self.address() + class.first_block(self.address());
        let end_of_carved = first + usize::from(header.carved.get()) * class.bytes();
        let end_of_range =
            range.next.map(|next| next.as_ptr().addr() + range.left as usize * class.bytes());
        if end_of_range == Some(end_of_carved) {
            header.carved.set(header.carved.get() - range.left as u16);
        } else if let Some(rest) = range.carve_chain(class, range.left) {
            // SAFETY: all of the range, which the caller gives up and which lies in this pool.
            return unsafe { self.give(class, rest) };
        }
        self.change_from(live_before)
    }

    /// What has become of the pool, which had so many live blocks before.
    fn change_from(self, live_before: u32) -> Change {
        let was_full = live_before == u32::from(self.header().capacity.get());
        Change { was_full, is_empty: self.is_empty() }
    }

    /// Puts the blocks of `run` in front of the free chain.
    ///
    /// # Safety
    ///
    /// - The blocks lie in this pool, are free, and the caller gives them up.
    /// - The pointer to the first may be used for all of the pool.
    #[inline]
    pub(crate) unsafe fn give(self, class: SizeClass, run: Chain) -> Change {
        let header = self.header();
        if header.class.get() != class.number() {
            abort_corrupt("block freed with the layout of another class", address_of(run.first()));
        }
        let live = self.live();
        if run.len() > live {
            abort_corrupt("block freed twice", address_of(run.first()));
        }
        let free_count = header.free_count.get();
        if free_count == 0 {
            header.free_tail.set(offset_of(run.last()));
        }
        // From a block of the pool, whose pointer the caller owes to be valid for it: shorter than from its header.
        let free = (free_count > 0).then(|| in_pool_of(run.first(), header.free.get()));
        // SAFETY: the pool's own chain, which goes behind the run.
        unsafe { run.link_before(free) };
        header.free.set(offset_of(run.first()));
        header.free_count.set(free_count + run.len() as u16);
        let was_full = live == u32::from(header.capacity.get());
        Change { was_full, is_empty: run.len() == live }
    }

    /// Takes free blocks: all of them, in constant time, if that are at most `most`; else exactly
    /// `most`.
    pub(crate) fn take(self, most: u32) -> Option<Chain> {
        let header = self.header();
        let count = u32::from(header.free_count.get());
        if count == 0 {
            return None;
        }
        let first = self.block_at(header.free.get());
        if count <= most {
            header.free_count.set(0);
            let last = self.block_at(header.free_tail.get());
            // SAFETY: the header's equations; the pool gives its whole chain up.
            return Some(unsafe { Chain::new(first, last, count) });
        }
        let mut last = first;
        for _ in 1..most {
            // SAFETY: a block of the pool's own chain, which another follows, for `most` < `count`.
            last = unsafe { self.follower_of(last) };
        }
        // SAFETY: as above.
        header.free.set(offset_of(unsafe { self.follower_of(last) }));
        header.free_count.set((count - most) as u16);
        // SAFETY: the first `most` blocks of the chain, which the pool gives up.
        Some(unsafe { Chain::new(first, last, most) })
    }

    /// The block that follows one of the free chain and is not its last.
    ///
    /// # Safety
    ///
    /// - `block` is of the pool's free chain, and another one follows it there.
    unsafe fn follower_of(self, block: NonNull<Block>) -> NonNull<Block> {
        // SAFETY: the caller owes the block, and the pool's chain is whoever's who calls.
        match unsafe { next_of(block) } {
            Some(next) if address_of(next) - usize::from(offset_of(next)) == self.address() => next,
            Some(_) => abort_corrupt("block written after its free", address_of(block)),
            None => abort_corrupt("free chain shorter than its count", address_of(block)),
        }
    }

    /// Whether the header's equations hold and its chain lies inside the pool. Walks the chain.
    pub(crate) fn is_valid(self) -> bool {
        let header = self.header();
        let Some(class) = self.class() else { return false };
        let start = self.address() + class.first_block(self.address());
        let mut found = 0;
        let free = (header.free_count.get() > 0).then(|| self.block_at(header.free.get()));
        let mut cursor = free;
        while let Some(block) = cursor {
            let offset = address_of(block).wrapping_sub(start);
            let carved_bytes = usize::from(header.carved.get()) * class.bytes();
            if found == header.free_count.get()
                || offset >= carved_bytes
                || !offset.is_multiple_of(class.bytes())
            {
                return false;
            }
            found += 1;
            // SAFETY: a block of the pool's own chain.
            cursor = unsafe { next_of(block) };
        }
        found == header.free_count.get()
            && header.free_count.get() <= header.carved.get()
            && header.carved.get() <= header.capacity.get()
            && u32::from(header.capacity.get()) == class.blocks_per_pool()
    }
}

/// Takes the blocks in front of `magazine` that lie in one pool.
///
/// # Safety
///
/// - The blocks are those of pools, by pointers that came from the heap, which are valid for all of their arena.
pub(crate) unsafe fn pop_run(magazine: &mut Magazine) -> Option<Chain> {
    // SAFETY: a pool lies in one arena, and the caller owes the pointers.
    unsafe { magazine.pop_run(POOL_BYTES) }
}

/// Virgin blocks of one pool, next to each other: live for the pool, untouched by anyone.
pub(crate) struct FreshRange {
    next: Option<NonNull<u8>>,
    left: u32,
    zeroed: bool,
}

// SAFETY: its blocks are its own, and whoever has it may hand them out.
unsafe impl Send for FreshRange {}

impl FreshRange {
    /// The range without blocks.
    pub(crate) const EMPTY: Self = Self { next: None, left: 0, zeroed: false };

    /// Whether its blocks are known to read as zero.
    pub(crate) fn is_zeroed(&self) -> bool {
        self.zeroed
    }

    /// Blocks that are left.
    pub(crate) fn len(&self) -> usize {
        self.left as usize
    }

    /// The pool that it belongs to.
    pub(crate) fn pool(&self) -> Option<Pool> {
        // SAFETY: the range lies in a mapped arena, and its pointer comes from that mapping.
        self.next.filter(|_| self.left > 0).map(|next| unsafe { Pool::of(next.cast()) })
    }

    /// Hands out the lowest block.
    pub(crate) fn carve(&mut self, class: SizeClass) -> Option<NonNull<u8>> {
        let block = self.next?;
        self.left = self.left.checked_sub(1)?;
        // SAFETY: the block lies in the range, so that its end is at most the end of the pool.
        self.next = Some(unsafe { block.add(class.bytes()) });
        Some(block)
    }

    /// Hands out the lowest blocks, at most `most`, as a chain in the order of their addresses.
    pub(crate) fn carve_chain(&mut self, class: SizeClass, most: u32) -> Option<Chain> {
        let first = self.next?.cast();
        let count = self.left.min(most);
        if count == 0 {
            return None;
        }
        let (mut last, mut next) = (first, first);
        for _ in 0..count {
            last = next;
            // SAFETY: the block lies in the range, so that its end is at most the end of the pool.
            next = unsafe { last.byte_add(class.bytes()) };
            // SAFETY: a virgin block, which this range gives up; so is the next, but for the last one's, whose link
            // is stale and not followed.
            unsafe { link(last, Some(next)) };
        }
        self.left -= count;
        self.next = Some(next.cast());
        // SAFETY: the blocks that were linked, which the range no longer has.
        Some(unsafe { Chain::new(first, last, count) })
    }
}

#[cfg(test)]
mod tests;
