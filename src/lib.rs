//! draft

// Sizes and their relations.
mod config;
// The lock.
mod sync;
// What is asked of the operating system.
mod os;
// From a layout to a size class.
mod size_class;
// Free blocks and chains of them.
mod block;
// 4 KiB of one class.
mod pool;
// 256 KiB from the operating system.
mod arena;
// What all threads share.
mod heap;
// Above 512 bytes.
mod large;
// What one thread holds.
mod cache;
// The thread-local, and the only statics.
mod thread;
// The allocator that a program names.
mod global;

pub use global::Obmalloc;
