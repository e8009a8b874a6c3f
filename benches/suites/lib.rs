//! What the suites share: the allocators, how they are called, and the blocks that they are asked for.
//!
//! All allocators are measured in one process and take turns within each case, so that a noisy minute
//! hurts a case and not an allocator. The weakness of that is the process itself: it holds what each of
//! them keeps, its blocks above 512 bytes make this allocator and the system's neighbours in one heap,
//! and a later turn finds what an earlier one of the same allocator left. Whether one allocator makes a
//! program faster is what the bench `compare` asks, in processes of their own.

mod block;
mod case;
mod outlined;
mod peers;
mod random;
mod slots;

pub use block::{Request, allocate, allocate_zeroed, grow, release, write_pages, write_start};
pub use case::{Case, Suite, short_rounds};
pub use random::Random;
pub use slots::Replacement;
