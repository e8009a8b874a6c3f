//! Swings: what a program drops of a class at one go, and soon asks for again, time after time, is not worth the way to
//! the pools and back. So a class learns from regret, as the reserve of the arenas does: what went to the pools in a drop, and
//! was taken from them soon after, its depot may pile up the next time.
//!
//! A drop is a number of flushes with no refill between. What goes in ones and twos, as where classes are used by turns,
//! teaches nothing: it would be more memory than the program has in use at any time, where a drop's was in use before.
//!
//! Called with the lock of the shard and class held.
#![forbid(unsafe_code)]

use crate::config::{SWING_BYTES_MAX, SWING_SLACK, WENT_PER_PILED};
use crate::size_class::SizeClass;

/// A drop of more blocks than any swing may have.
const TOO_MANY: u32 = u32::MAX;

/// What one shard knows of the swings of one class, in blocks.
pub(super) struct Swing {
    /// The pile may have so many, and a little more.
    allowance: u32,
    /// Went to the pools in a drop not long ago, less those that were taken since; or `TOO_MANY`.
    went: u32,
    /// The fewest in the pile since the last look.
    least: u32,
    /// What the look before found to be of no use, less what has been taken or has gone since.
    unused: u32,
}

impl Swing {
    /// Nothing is known.
    pub(super) const NONE: Self = Self { allowance: 0, went: 0, least: 0, unused: 0 };

    /// Whether a pile of `piled` blocks may get so many more.
    pub(super) fn permits(&self, piled: u32, more: u32) -> bool {
        piled + more <= self.most()
    }

    fn most(&self) -> u32 {
        self.allowance + self.allowance / SWING_SLACK
    }

    /// So many blocks go to the pools in the drop that is under way.
    pub(super) fn go(&mut self, class: SizeClass, blocks: u32) {
        let went = self.went.saturating_add(blocks);
        let is_too_much = went as usize * class.bytes() > SWING_BYTES_MAX;
        self.went = if is_too_much { TOO_MANY } else { went };
    }

    /// Whether the drop that is under way is so much larger than those before that a pile of `piled` blocks is to go with
    /// it: it may be all that keeps pools and arenas from being empty. What is a little larger takes a part of it.
    pub(super) fn is_beyond(&self, piled: u32) -> bool {
        self.went == TOO_MANY || piled + self.went / WENT_PER_PILED > self.most()
    }

    /// So many were taken from the pools; returns how many of these had gone there before.
    pub(super) fn take(&mut self, blocks: u32) -> u32 {
        let regretted = if self.went == TOO_MANY { 0 } else { self.went.min(blocks) };
        self.went -= regretted;
        regretted
    }

    /// The pile may have so many more from now on.
    pub(super) fn allow(&mut self, blocks: u32) {
        self.allowance += blocks;
    }

    /// The pile has so many blocks left.
    pub(super) fn pile_falls_to(&mut self, piled: u32) {
        self.least = self.least.min(piled);
        self.unused = self.unused.min(piled);
    }

    /// So many have left the pile for want of use: the allowance loses as many, if it has them, and this returns how many
    /// these were.
    pub(super) fn disallow(&mut self, blocks: u32) -> u32 {
        self.unused = self.unused.saturating_sub(blocks);
        let lost = self.allowance.min(blocks);
        self.allowance -= lost;
        lost
    }

    /// Nothing is known any more; returns what the allowance was.
    pub(super) fn forget(&mut self) -> u32 {
        core::mem::replace(self, Self::NONE).allowance
    }

    /// Some time has passed: what always lay in the pile, of so many blocks now, was of no use, and what had gone to the
    /// pools before is not missed.
    pub(super) fn look(&mut self, piled: u32) {
        self.unused = core::mem::replace(&mut self.least, piled).min(piled);
        self.went = 0;
    }

    /// Blocks of the pile that are of no use.
    pub(super) fn unused(&self) -> u32 {
        self.unused
    }

    /// Whether there is nothing to look at.
    pub(super) fn is_idle(&self) -> bool {
        self.allowance == 0 && self.went == 0
    }
}
