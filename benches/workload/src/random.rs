//! A small generator (xorshift64*) with fixed seeds, so that every run draws the same numbers.

use std::ops::RangeInclusive;

pub struct Random(u64);

impl Random {
    pub fn new(stream: usize) -> Self {
        // Spreads neighbouring stream numbers over all bits; the state must not be zero.
        Self((stream as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`, by the multiply-and-shift method: no division in the timed loops.
    pub fn below(&mut self, bound: usize) -> usize {
        (((self.next() >> 32) * bound as u64) >> 32) as usize
    }

    pub fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// The likelihood of a number falls in a straight line, to almost none at the end of the range.
    pub fn mostly_low(&mut self, range: RangeInclusive<usize>) -> usize {
        self.within(range.clone()).min(self.within(range))
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
