//! Numbers that look random and are the same in each run (SplitMix64).

/// A source of numbers.
pub struct Random(u64);

impl Random {
    /// A source whose numbers depend on `seed` alone.
    pub fn new(seed: usize) -> Self {
        Self(seed as u64)
    }

    /// A number from 0 to `bound - 1`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) as usize % bound
    }
}
