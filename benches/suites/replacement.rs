//! What does an allocation cost in a heap that has been in use for long?
//!
//! Slots are full of blocks; each round frees the block in a random one and fills it with a block of a
//! random size, of which the first byte of each page is written. The few slots fit into the processor's
//! caches; the million does not, and then each release and each allocation may cost a miss.
//!
//! Its weakness: blocks die at random, and real ones die with those of the same age. All sizes are as
//! likely, where real programs ask for a few sizes most of the time. To draw two numbers is part of the
//! time, and the misses of the slots themselves are, too: both are the same under all
//! allocators and bring the ratios nearer to one.

use criterion::{Criterion, criterion_group, criterion_main};
use suites::{Replacement, Suite, short_rounds};

fn replacement(criterion: &mut Criterion) {
    Suite::new(criterion, "replacement")
        .measure(&Replacement { slots: 4_000, sizes: 8..=128 })
        .measure(&Replacement { slots: 1_000_000, sizes: 8..=512 })
        .measure(&Replacement { slots: 50_000, sizes: 8..=8192 });
}

criterion_group! {
    name = suite;
    // 48 measurements in about a minute and a half. Each is warmed up for long enough that the million slots
    // have been filled anew.
    config = short_rounds(1.2, 30);
    targets = replacement
}
criterion_main!(suite);
