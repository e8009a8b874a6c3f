//! Free blocks, and chains of them.
//!
//! A free block's first word is the link to the next one; a block in use has no header at all.
//! A [`Magazine`] owns its chain: each block of the heap is in use, virgin, or in exactly one chain.

use core::array::from_fn;
use core::num::NonZero;
use core::ptr::NonNull;

use crate::config::SMALL_MAX;
use crate::os::{abort_corrupt, debug_check, poison, unpoison};

/// Where a magazine is sorted, blocks that begin in the same so many bytes are in no order. None of large ones do.
pub(crate) const SORTED_STEP_BYTES: usize = SMALL_MAX;

/// Blocks no further from each other than that, half a page, are near.
const NEAR_BYTES: usize = 4 * SORTED_STEP_BYTES;

/// A magazine is not sorted whose blocks lie in runs, each near the one before, of so many in the mean.
const BLOCKS_PER_RUN_UNSORTED: u32 = 4;

/// Buckets that each pass of a sort deals blocks out to.
const BUCKETS: usize = 32;

/// The range within which blocks are in the order of their addresses after two passes: 512 KiB.
const SORTED_AT_FIRST_BYTES: usize = SORTED_STEP_BYTES * BUCKETS * BUCKETS;

/// The same after the third, which is for blocks that are further from each other: 16 MiB.
#[cfg(test)]
pub(crate) const SORTED_RANGE_BYTES: usize = SORTED_AT_FIRST_BYTES * BUCKETS;

/// The first word of a free block.
#[repr(transparent)]
pub(crate) struct Block {
    next: Link,
}

/// The first two words of a free block at the head of a covering magazine, see [`Magazine::cover`].
#[repr(C)]
struct Cover {
    block: Block,
    /// The head of the magazine below, with the number of its blocks in the bits that no address uses.
    below: Link,
}

/// Bytes of a block that can head a covering magazine, at least.
pub(crate) const COVER_BYTES: usize = size_of::<Cover>();

/// From this bit on an address is zero, as far as magazines are covered: on machines of 64 bits those of all processes are.
const ADDRESS_BITS: u32 = usize::BITS - u16::BITS;

/// Where `block` is.
pub(crate) fn address_of(block: NonNull<Block>) -> usize {
    block.as_ptr().addr()
}

/// A free block, or the end of a chain.
pub(crate) type Link = Option<NonNull<Block>>;

/// The block after `block`.
///
/// # Safety
///
/// - `block` is the head of a chain that the caller owns.
#[inline(always)]
pub(crate) unsafe fn next_of(block: NonNull<Block>) -> Link {
    unpoison(block.cast(), size_of::<Block>());
    // SAFETY: a block of a chain is free, so its first word is a link; the caller owns the chain.
    let next = unsafe { (*block.as_ptr()).next };
    poison(block.cast(), size_of::<Block>());
    next
}

/// The block after `block` if it lies `stride` bytes further; its address is computed, not loaded.
///
/// # Safety
///
/// - `block` is the head of a chain that the caller owns.
/// - If a block lies there, the pointer to `block` is valid for it, too.
#[inline(always)]
unsafe fn follower_at(block: NonNull<Block>, stride: usize) -> Link {
    let expected = block.as_ptr().wrapping_byte_add(stride);
    // SAFETY: the caller owes the chain.
    let next = unsafe { next_of(block) }.map_or(0, address_of);
    // By address, lest the compiler put the one pointer for the other.
    if expected.addr() != next {
        return None;
    }
    debug_check!(next != 0, "blocks too far apart", address_of(block));
    // SAFETY: the address of a block: no two blocks are so far apart that the next would be at null.
    Some(unsafe { NonNull::new_unchecked(expected) })
}

/// Steps of `stride`, down where that is negative in two's complement, from `offset` that stay below
/// `range_bytes`.
fn steps_within(offset: usize, stride: usize, range_bytes: usize) -> u32 {
    let (room, step) = if stride < range_bytes {
        (range_bytes - 1 - offset, stride)
    } else {
        (offset, stride.wrapping_neg())
    };
    // In 32 bits, where a division takes half as long. No step is of a chain that goes in a circle.
    (room as u32).checked_div(step as u32).unwrap_or(0)
}

/// Makes `next` follow `block`.
///
/// # Safety
///
/// - `block` is free and belongs to the caller, and so does the chain that starts with `next`.
#[inline(always)]
pub(crate) unsafe fn link(block: NonNull<Block>, next: Link) {
    unpoison(block.cast(), size_of::<Block>());
    // SAFETY: the caller owns the block, whose size is at least that of a link.
    unsafe { block.write(Block { next }) }
    poison(block.cast(), size_of::<Block>());
}

/// A chain of free blocks of one class, of known length, that moves as a whole (Bonwick and Adams,
/// "Magazines and Vmem", 2001).
///
/// Invariant: `head` starts a chain of exactly `len` blocks that no other chain shares.
pub(crate) struct Magazine {
    head: Link,
    len: u32,
}

// SAFETY: its blocks are its own, and whoever has it may link and unlink them.
unsafe impl Send for Magazine {}

impl Magazine {
    /// The chain without blocks.
    pub(crate) const EMPTY: Self = Self { head: None, len: 0 };

    /// The chain of `len` blocks that starts with `head`.
    ///
    /// # Safety
    ///
    /// - `head` starts a chain of exactly `len` free blocks of one class.
    /// - The caller owns the chain, and gives it up.
    pub(crate) unsafe fn from_chain(head: Link, len: u32) -> Self {
        debug_check!(head.is_some() == (len > 0), "chain and length differ", len as usize);
        Self { head, len }
    }

    /// The chain's head and length, now the caller's.
    pub(crate) fn into_chain(self) -> (Link, u32) {
        (self.head, self.len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Number of blocks.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// The block in front, still the magazine's.
    pub(crate) fn first(&self) -> Link {
        self.head
    }

    /// Puts a block in front.
    ///
    /// # Safety
    ///
    /// - `block` is free, of the chain's class, and the caller gives it up.
    pub(crate) unsafe fn push(&mut self, block: NonNull<Block>) {
        // SAFETY: the caller owes the block; the chain is this magazine's.
        unsafe { link(block, self.head) };
        self.head = Some(block);
        self.len += 1;
    }

    /// Takes the block in front.
    pub(crate) fn pop(&mut self) -> Link {
        let block = self.head?;
        // SAFETY: a block of this magazine's own chain.
        self.head = unsafe { next_of(block) };
        self.len -= 1;
        if self.head.is_some() != (self.len > 0) {
            abort_corrupt("block freed twice or written after its free", address_of(block));
        }
        Some(block)
    }

    /// Takes the blocks in front that begin in one range of `range_bytes`, a power of two and the ranges'
    /// alignment, as one chain.
    ///
    /// # Safety
    ///
    /// - Each of these ranges lies in one mapping, and the pointer to each block is valid for all of it.
    #[inline(always)]
    pub(crate) unsafe fn pop_run(&mut self, range_bytes: usize) -> Option<Chain> {
        let first = self.head?;
        let mut run = Chain { first, last: first, len: 1 };
        // SAFETY: a block of this magazine's own chain.
        let next = unsafe { next_of(first) };
        // Where the chain ends, null is as far away as another range.
        if address_of(first) ^ next.map_or(0, address_of) < range_bytes {
            // SAFETY: the caller owes the ranges and the pointers.
            run = unsafe { self.prolonged(run, range_bytes) };
        }
        // SAFETY: a block of this magazine's own chain.
        self.head = unsafe { next_of(run.last) };
        self.len -= run.len;
        if self.head.is_some() != (self.len > 0) {
            abort_corrupt("block freed twice or written after its free", address_of(run.last));
        }
        Some(run)
    }

    /// A run of one block, the first, and what follows of its range.
    ///
    /// # Safety
    ///
    /// - As for [`Magazine::pop_run`].
    #[inline(always)]
    unsafe fn prolonged(&self, mut run: Chain, range_bytes: usize) -> Chain {
        loop {
            // SAFETY: a block of this magazine's own chain.
            let next = unsafe { next_of(run.last) };
            let is_near = |next| (address_of(run.first) ^ address_of(next)) < range_bytes;
            let is_of_run = |next: &NonNull<Block>| run.len < self.len && is_near(*next);
            let Some(next) = next.filter(is_of_run) else { return run };
            let stride = address_of(next).wrapping_sub(address_of(run.last));
            run.last = next;
            run.len += 1;
            // Those that were freed in order follow each other at equal distances. Where that is so, the
            // next address is computed, so that no load waits for the link that was loaded before.
            let most = steps_within(address_of(next) % range_bytes, stride, range_bytes)
                .min(self.len - run.len);
            let mut left = most;
            while left > 0
                // SAFETY: a block of this magazine's own chain; there are `left` more, and so many steps stay in
                // the range, for which the caller owes that the pointer is valid.
                && let Some(next) = unsafe { follower_at(run.last, stride) }
            {
                run.last = next;
                left -= 1;
            }
            run.len += most - left;
        }
    }

    /// The same large blocks, by where they lie in a range of 16 MiB, the lowest in front. Blocks of several ranges,
    /// which are at the same place in each, stay in the order in which they are; and so do all that lie in runs
    /// already, up or down, which hardware foresees as well.
    ///
    /// By distribution, the least digit first (Knuth, "The Art of Computer Programming", volume 3, 5.2.5), with no
    /// branch that depends on an address. Out of line, so that the buckets are on no other function's stack.
    #[inline(never)]
    pub(crate) fn sorted(mut self) -> Self {
        if self.jumps() * BLOCKS_PER_RUN_UNSORTED < self.len {
            return self;
        }
        let mut buckets = Buckets::new();
        let differing = buckets.deal(&mut self, SORTED_STEP_BYTES.ilog2());
        buckets.deal(&mut self, (SORTED_STEP_BYTES * BUCKETS).ilog2());
        if differing >= SORTED_AT_FIRST_BYTES {
            buckets.deal(&mut self, SORTED_AT_FIRST_BYTES.ilog2());
        }
        unpoison(NonNull::from(&mut buckets).cast(), size_of::<Buckets>());
        self
    }

    /// How many blocks are not near the one before. Walks the chain.
    fn jumps(&self) -> u32 {
        let Some(mut last) = self.head else { return 0 };
        let mut jumps = 0;
        for _ in 1..self.len {
            // SAFETY: a block of this magazine's own chain.
            let Some(next) = (unsafe { next_of(last) }) else { break_off(self) };
            jumps += u32::from(address_of(next).abs_diff(address_of(last)) > NEAR_BYTES);
            last = next;
        }
        jumps
    }

    /// Whether another magazine can cover this one, which may be empty, and so be all that is to be known of both.
    pub(crate) fn can_be_covered(&self) -> bool {
        self.head.map_or(0, address_of) >> ADDRESS_BITS == 0 && self.len <= u32::from(u16::MAX)
    }

    /// Notes `below` in the first block, until [`Magazine::uncover`].
    ///
    /// # Safety
    ///
    /// - `below` can be covered, and this magazine has a block.
    /// - Its blocks have [`COVER_BYTES`] at least.
    pub(crate) unsafe fn cover(&self, below: Self) {
        debug_check!(below.can_be_covered(), "magazine cannot be covered", below.len() as usize);
        let Some(first) = self.head else { return };
        let len = (below.len as usize) << ADDRESS_BITS;
        let noted = below.head.map(|head| head.map_addr(|address| address | len));
        let cover: NonNull<Cover> = first.cast();
        unpoison(first.cast(), COVER_BYTES);
        // SAFETY: a block of this magazine's own chain, for which the caller owes the bytes.
        unsafe { (*cover.as_ptr()).below = noted };
        poison(first.cast(), COVER_BYTES);
    }

    /// The magazine that this one covers, and then does no more.
    ///
    /// # Safety
    ///
    /// - [`Magazine::cover`] was the last to note one in its first block.
    pub(crate) unsafe fn uncover(&self) -> Self {
        let Some(first) = self.head else { return Self::EMPTY };
        let cover: NonNull<Cover> = first.cast();
        unpoison(first.cast(), COVER_BYTES);
        // SAFETY: a block of this magazine's own chain, of which the caller owes that it has a cover.
        let noted = unsafe { (*cover.as_ptr()).below };
        poison(first.cast(), COVER_BYTES);
        let Some(noted) = noted else { return Self::EMPTY };
        let len = address_of(noted) >> ADDRESS_BITS;
        let head = address_of(noted) % (1 << ADDRESS_BITS);
        let Some(address) =
            NonZero::new(head).filter(|_| len > 0 && head.is_multiple_of(align_of::<Block>()))
        else {
            abort_corrupt("block written after its free", address_of(first));
        };
        Self { head: Some(noted.map_addr(|_| address)), len: len as u32 }
    }

    /// Whether the chain has as many blocks as it says. Walks it.
    pub(crate) fn is_valid(&self) -> bool {
        let mut found = 0;
        let mut cursor = self.head;
        while let Some(block) = cursor {
            if found == self.len {
                return false;
            }
            found += 1;
            // SAFETY: a block of this magazine's own chain.
            cursor = unsafe { next_of(block) };
        }
        found == self.len
    }
}

/// Ends the process: the chain of `magazine` has more blocks than it says, or fewer.
#[cold]
#[inline(never)]
fn break_off(magazine: &Magazine) -> ! {
    abort_corrupt(
        "block freed twice or written after its free",
        magazine.head.map_or(0, address_of),
    )
}

/// Where a magazine's blocks are dealt out to.
struct Buckets {
    /// Links of blocks that are none, so that the first block of a bucket follows another as all do.
    starts: [Link; BUCKETS],
    ends: [NonNull<Block>; BUCKETS],
}

impl Buckets {
    fn new() -> Self {
        Self { starts: [None; BUCKETS], ends: [NonNull::dangling(); BUCKETS] }
    }

    /// Deals all blocks out to buckets, each to that which its address names from bit `shift` on, and puts the buckets
    /// behind each other. What was in a bucket's order before still is. Returns the bits in which the addresses of any
    /// two blocks differ.
    ///
    /// Out of line, or else the compiler keeps the addresses of the starts in registers, and has none left.
    #[inline(never)]
    fn deal(&mut self, magazine: &mut Magazine, shift: u32) -> usize {
        let first = magazine.head.map_or(0, address_of);
        let mut differing = 0;
        let start = NonNull::from(&mut self.starts).cast::<Block>();
        // SAFETY: inside of the array.
        self.ends = from_fn(|bucket| unsafe { start.add(bucket) });
        let mut left = magazine.head;
        for _ in 0..magazine.len {
            let Some(block) = left else { break_off(magazine) };
            // SAFETY: a block of the magazine's own chain.
            left = unsafe { next_of(block) };
            differing |= address_of(block) ^ first;
            let end = &mut self.ends[(address_of(block) >> shift) % BUCKETS];
            // SAFETY: a start, or a block of the magazine's own chain that was dealt out before.
            unsafe { link(*end, Some(block)) };
            *end = block;
        }
        if left.is_some() {
            break_off(magazine);
        }
        let mut behind = None;
        for bucket in (0..BUCKETS).rev() {
            // SAFETY: a start, or a block of the magazine's own chain.
            unsafe { link(self.ends[bucket], behind) };
            // SAFETY: inside of the array.
            let start = unsafe { start.add(bucket) };
            // SAFETY: a start, which the first block of the bucket follows, or else what is behind.
            behind = unsafe { next_of(start) };
        }
        magazine.head = behind;
        differing
    }
}

/// A chain of at least one block with both ends at hand, so that it joins others in constant time.
///
/// Invariant: `len` blocks from `first` to `last`, owned by this value. What `last` links to is not
/// part of the chain, and may be stale.
pub(crate) struct Chain {
    first: NonNull<Block>,
    last: NonNull<Block>,
    len: u32,
}

impl Chain {
    /// The chain of `len` blocks from `first` to `last`.
    ///
    /// # Safety
    ///
    /// - It has exactly `len` free blocks of one class, at least one.
    /// - The caller owns them, and gives them up.
    pub(crate) unsafe fn new(first: NonNull<Block>, last: NonNull<Block>, len: u32) -> Self {
        Self { first, last, len }
    }

    pub(crate) fn first(&self) -> NonNull<Block> {
        self.first
    }

    pub(crate) fn last(&self) -> NonNull<Block> {
        self.last
    }

    /// Number of blocks.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Puts all of this chain in front of the chain that `behind` starts.
    ///
    /// # Safety
    ///
    /// - The caller owns the chain behind, which has the same class.
    pub(crate) unsafe fn link_before(&self, behind: Link) {
        // SAFETY: the last block of this value's own chain; the caller owes the one behind.
        unsafe { link(self.last, behind) };
    }

    /// The chain `front`, if there is one, with this one behind it.
    pub(crate) fn behind(self, front: Option<Chain>) -> Chain {
        let Some(front) = front else { return self };
        // SAFETY: this chain is owned, and is given up for the joined one.
        unsafe { front.link_before(Some(self.first)) };
        Chain { first: front.first, last: self.last, len: front.len + self.len }
    }

    pub(crate) fn into_magazine(self) -> Magazine {
        // SAFETY: no chain behind.
        unsafe { self.link_before(None) };
        // SAFETY: the invariant, and the chain now ends with `last`.
        unsafe { Magazine::from_chain(Some(self.first), self.len) }
    }
}

#[cfg(test)]
mod tests;
