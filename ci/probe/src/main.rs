//! A program under the allocator, with a `Box` made and dropped in functions that can be found.

use std::hint::black_box;
use std::mem::MaybeUninit;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

/// 48 bytes. What is in them is not the allocator's work.
type Block = Box<MaybeUninit<[u64; 6]>>;

// SAFETY: no other function of the program has this name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn probe_box_new() -> Block {
    Box::new_uninit()
}

// SAFETY: no other function of the program has this name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn probe_box_drop(block: Block) {
    drop(block);
}

fn main() {
    probe_box_drop(black_box(probe_box_new()));
}
