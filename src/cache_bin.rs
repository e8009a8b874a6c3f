//! Bins: the loaded magazine of one class in a thread's cache, and all that a fast path touches.
//!
//! Only the thread that owns the cache may call one. A bin of all zeros is an empty one that takes no
//! block, so that a new thread's bins cost no initialisation, and the fast paths test for nothing but
//! an empty or a full magazine.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::block::{Block, Link, Magazine, link, next_of};
use crate::os::debug_check;

/// The loaded magazine of one class.
///
/// Invariant: `head` starts a chain of `capacity - room` blocks, and 0 <= `room` <= `capacity`.
///
/// `room` is signed, and below zero between a push that found none and the slow path that it took, so
/// that the fast path is one subtraction in memory and a jump on its sign. Aligned so that none lies in
/// two cache lines.
#[repr(align(16))]
pub(crate) struct Bin {
    head: Cell<Link>,
    room: Cell<i32>,
    capacity: Cell<i32>,
}

impl Bin {
    /// A bin without blocks, and without room for any.
    pub(crate) const fn new() -> Self {
        Self { head: Cell::new(None), room: Cell::new(0), capacity: Cell::new(0) }
    }

    /// Takes a block.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<NonNull<u8>> {
        let block = self.head.get()?;
        // SAFETY: the head of the bin's own chain.
        self.head.set(unsafe { next_of(block) });
        self.room.set(self.room.get().wrapping_add(1));
        Some(block.cast())
    }

    /// Puts a block in front; on `false` there is no room, and [`Bin::refuse_push`] must follow.
    ///
    /// # Safety
    ///
    /// - `block` is of the bin's class, free, and the caller gives it up if the answer is `true`.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, block: NonNull<u8>) -> bool {
        let room = self.room.get().wrapping_sub(1);
        self.room.set(room);
        if room < 0 {
            return false;
        }
        let block: NonNull<Block> = block.cast();
        // SAFETY: the caller owes the block; the chain is the bin's.
        unsafe { link(block, self.head.get()) };
        self.head.set(Some(block));
        true
    }

    /// Undoes what a push without room has counted, if nothing has been loaded since.
    pub(crate) fn refuse_push(&self) {
        self.room.set(self.room.get().max(0));
    }

    /// Whether a push will find room.
    pub(crate) fn has_room(&self) -> bool {
        self.room.get() > 0
    }

    /// Blocks that it may hold.
    pub(crate) fn capacity(&self) -> i32 {
        self.capacity.get()
    }

    /// Blocks that it holds.
    pub(crate) fn len(&self) -> i32 {
        self.capacity.get() - self.room.get()
    }

    /// Fills an empty bin; it grows to hold all of the magazine.
    pub(crate) fn load(&self, magazine: Magazine) {
        debug_check!(self.head.get().is_none(), "loaded bin loaded", self.capacity.get() as usize);
        let (head, len) = magazine.into_chain();
        let len = len as i32;
        self.head.set(head);
        self.capacity.set(self.capacity.get().max(len));
        self.room.set(self.capacity.get() - len);
    }

    /// Empties the bin.
    pub(crate) fn unload(&self) -> Magazine {
        let len = self.len();
        self.room.set(self.capacity.get());
        // SAFETY: the invariant of `Bin`; the chain leaves it here.
        unsafe { Magazine::from_chain(self.head.replace(None), len as u32) }
    }

    /// Lets an empty bin hold `capacity` blocks.
    pub(crate) fn resize(&self, capacity: i32) {
        debug_check!(self.head.get().is_none(), "loaded bin resized", capacity as usize);
        self.capacity.set(capacity);
        self.room.set(capacity);
    }

    /// Lets the bin, whatever it holds, hold `capacity` blocks if it may hold fewer.
    pub(crate) fn raise(&self, capacity: i32) {
        let more = (capacity - self.capacity.get()).max(0);
        self.capacity.set(self.capacity.get() + more);
        self.room.set(self.room.get() + more);
    }

    /// Whether the invariant holds. Walks the chain.
    pub(crate) fn is_valid(&self) -> bool {
        if self.room.get() < 0 || self.room.get() > self.capacity.get() {
            return false;
        }
        let loaded = self.unload();
        let loaded_is_valid = loaded.is_valid();
        self.load(loaded);
        loaded_is_valid
    }
}

/// Blocks of the magazine in `cell`.
pub(crate) fn len_in(cell: &Cell<Magazine>) -> usize {
    let magazine = cell.replace(Magazine::EMPTY);
    let len = magazine.len() as usize;
    cell.set(magazine);
    len
}

/// Whether the magazine in `cell` has as many blocks as it says. Walks it.
pub(crate) fn is_valid_in(cell: &Cell<Magazine>) -> bool {
    let magazine = cell.replace(Magazine::EMPTY);
    let is_valid = magazine.is_valid();
    cell.set(magazine);
    is_valid
}

#[cfg(test)]
mod tests;
