//! A small generator of random numbers (xorshift64*), the same ones in each run.

/// The generator. Two with the same stream draw the same numbers.
pub struct Random(u64);

impl Random {
    /// The generator of one stream.
    #[must_use]
    pub fn new(stream: u64) -> Self {
        // Spreads neighbouring streams over all bits; the state must not be zero.
        Self((stream + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`, which is at most 2^32: without a division, for it is drawn in timed loops.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high_half = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        ((high_half * bound as u64) >> 32) as usize
    }

    /// The numbers below `count`, in no order.
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            numbers.swap(last, self.below(last + 1));
        }
        numbers
    }
}
