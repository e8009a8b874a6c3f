//! A global allocator for programs that allocate many small blocks: CPython's obmalloc, made
//! multi-threaded, in Rust alone.
//!
//! ```
//! use obmalloc::Obmalloc;
//!
//! #[global_allocator]
//! static GLOBAL: Obmalloc = Obmalloc::new();
//!
//! let words: Vec<String> = ["memory", "comes", "back"].map(String::from).to_vec();
//! assert_eq!(words.concat().len(), 15);
//! ```
//!
//! A request of at most 512 bytes is served from one of 64 size classes, 8 bytes apart; a larger one,
//! or one whose alignment no class has, by [`std::alloc::System`], with magazines of its blocks up to
//! 32 KiB in front, or by any other allocator ([`Obmalloc::with_large`]).
//!
//! ```text
//!   alloc / dealloc           of at most 512 bytes: the class follows from the layout alone
//!        |
//!   thread cache              per class: a loaded magazine of free blocks, a spare, a virgin range
//!        | refill / flush
//!   heap                      per shard and class, behind a lock: a depot of full magazines, used pools
//!        | take / give
//!   arenas                    256 KiB each, cut into 63 pools of 4 KiB; the fullest serves first
//!        | map / release
//!   operating system
//! ```
//!
//! The pools and arenas are CPython's (3.6, with the constant-time arena order of 3.8); the magazines
//! and depots in front of them are those of Bonwick and Adams ("Magazines and Vmem", 2001). A block
//! has no header. Since [`GlobalAlloc::dealloc`](std::alloc::GlobalAlloc::dealloc) is told the layout,
//! a free neither looks at the block's surroundings nor asks who owns it: it pushes the block on the
//! freeing thread's magazine.
//!
//! Set `lto = "fat"` or `"thin"` in the release profile: then `Box::new` is seven instructions of this
//! allocator, and `drop` six.
//!
//! What is free goes back to the system by itself, at once with [`Obmalloc::trim`], and within bounds
//! that [`Obmalloc::with_limit`] and its kin set; [`Obmalloc::stats`] and [`Obmalloc::heap_map`] show what there
//! is, in release builds and exactly.
//!
//! Where there are no arenas (Windows, wasm), every request passes to the system allocator.
//!
//! # Floors
//!
//! A file imports only from files whose `mod` line is above its own.

// The sizes, how they relate, and what a program may choose.
mod config;
// What is asked of the operating system.
mod os;
// The lock.
mod sync;
// From a layout to a size class.
mod size_class;
// From a layout to a class of large blocks.
mod large_class;
// What a heap is made of, in numbers.
mod census;
// Free blocks, and chains of them.
mod block;
// The loaded magazine of one class.
mod cache_bin;
// From a layout to the bin of its class.
mod bin_index;
// Stacks of full magazines.
mod depot;
// Pools: 4 KiB of blocks of one class.
mod pool;
// From an address to the table that covers it.
mod radix;
// From an address to the class of its pool.
mod pool_map;
// From an address to whether a block there is in use.
mod use_map;
// Arenas: 256 KiB of pools.
mod arena;
// The heap that all threads share.
mod heap;
// Large blocks: the system allocator's, with depots in front.
mod large;
// The blocks that one thread holds.
mod cache;
// The large blocks that one thread holds.
mod large_cache;
// How one thread has all others give back what they hold.
mod trim;
// Each thread's caches, and the ends of threads; the only statics.
mod thread;
// What debug builds notice of wrong use.
mod wrong_use;
// The allocator that a program names.
mod global;
// The numbers as text.
mod stats;
// The heap as a picture.
mod heap_map;
// C's `malloc` and its kin.
#[cfg(feature = "preload")]
mod preload;

pub use census::{ArenaStats, ClassStats, LargeStats, Stats, ThreadStats};
pub use config::{Config, Pressure, SystemTuning};
pub use global::Obmalloc;
