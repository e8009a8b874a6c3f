//! A target for libFuzzer: each input is a program of requests, which up to four threads carry out in
//! turn, against a model of the blocks that live. After it all blocks are freed and all is trimmed, so
//! that the heap must be empty, to the block, and the next program finds it so.
//!
//! The allocator is a plain value. The program's own memory, the model's included, is the system's, so
//! that what the input asks for is all that the allocator sees.
#![no_main]

mod machine;
mod model;
mod program;
mod threads;

#[path = "../../../tests/common/blocks.rs"]
mod blocks;
#[path = "../../../tests/common/zeroed_blocks.rs"]
mod zeroed_blocks;

use libfuzzer_sys::fuzz_target;
use machine::Machine;
use threads::Threads;

fuzz_target!(|input: &[u8]| {
    let mut threads = Threads::default();
    let mut machine = Box::new(Machine::new(input));
    while let Some(stop) = machine.run() {
        machine = threads.follow(stop, machine);
    }
    threads.end_all();
    machine.end();
});
