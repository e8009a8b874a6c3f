//! Slots full of blocks, of which one at a time is replaced.

use std::alloc::GlobalAlloc;
use std::ops::RangeInclusive;
use std::ptr::NonNull;

use crate::block::{Request, allocate, release, write_pages};
use crate::case::Case;
use crate::random::Random;

/// Replaces the block in a random slot by one of a random size, and writes to each of its pages.
pub struct Replacement {
    /// How many blocks live at any time.
    pub slots: usize,
    /// All sizes between these are as likely.
    pub sizes: RangeInclusive<usize>,
}

struct Slot {
    block: NonNull<u8>,
    request: Request,
}

impl Slot {
    #[inline]
    fn filled(allocator: &impl GlobalAlloc, request: Request) -> Self {
        let block = allocate(allocator, request);
        // SAFETY: the block was just allocated.
        unsafe { write_pages(block, request, 0) }
        Self { block, request }
    }
}

/// The blocks that live, and the numbers that say what comes next.
pub struct Slots {
    slots: Vec<Slot>,
    random: Random,
}

impl Replacement {
    #[inline]
    fn next_request(&self, random: &mut Random) -> Request {
        let (least, most) = (*self.sizes.start(), *self.sizes.end());
        Request::of(least + random.below(most - least + 1))
    }
}

impl Case for Replacement {
    type Held = Slots;

    fn name(&self) -> String {
        format!("{} slots of {} to {}", self.slots, self.sizes.start(), self.sizes.end())
    }

    fn prepare(&self, allocator: &impl GlobalAlloc) -> Slots {
        let mut random = Random::new(0);
        let slots = (0..self.slots)
            .map(|_| Slot::filled(allocator, self.next_request(&mut random)))
            .collect();
        Slots { slots, random }
    }

    #[inline(always)]
    unsafe fn round(&self, allocator: &impl GlobalAlloc, held: &mut Slots) {
        let index = held.random.below(held.slots.len());
        let request = self.next_request(&mut held.random);
        let slot = &mut held.slots[index];
        // SAFETY: the caller promises that it was allocated here; the slot is filled again below.
        unsafe { release(allocator, slot.block, slot.request) }
        *slot = Slot::filled(allocator, request);
    }

    unsafe fn finish(&self, allocator: &impl GlobalAlloc, held: Slots) {
        for slot in held.slots {
            // SAFETY: the caller promises that it was allocated here; no slot remains.
            unsafe { release(allocator, slot.block, slot.request) }
        }
    }
}
