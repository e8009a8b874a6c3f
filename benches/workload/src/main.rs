//! Runs one workload under the global allocator that this binary was built with, and prints what it took.

#![forbid(unsafe_code)]

mod allocator;
mod block;
mod buffers;
mod drift;
mod frames;
mod giveaway;
mod harness;
mod index;
mod json;
mod larson;
mod list;
mod memory;
mod pairs;
mod pipeline;
mod random;
mod reclass;
mod replace;
mod rotate;
mod sources;
mod spike;
mod syntax;
mod trees;
mod workers;

use std::process::ExitCode;

use harness::{Input, Measurement, cores};

fn main() -> ExitCode {
    harness::main(measure)
}

fn measure(name: &str, scale: u32, input: Input) -> Result<Measurement, String> {
    Ok(match name {
        "json" => json::run(input.file()?, scale)?,
        "syn" => syntax::run(input.file()?, scale)?,
        "index" => index::run(input.file()?, scale)?,
        "trees-1" => trees::run(1, scale),
        "trees-n" => trees::run(cores()?, scale),
        "larson-n" => larson::run(cores()?, scale),
        "pipeline" => pipeline::run(cores()?, scale),
        "pairs" => pairs::run(scale),
        "replace-1m" => replace::small(scale),
        "replace-8k" => replace::mixed(scale),
        "buffers" => buffers::run(cores()?, scale),
        "frames" => frames::run(scale),
        "spike" => spike::all_freed(scale),
        "sparse" => spike::some_kept(scale),
        "list-20" => list::run(20, scale),
        "list-3" => list::run(3, scale),
        "drift" => drift::run(scale),
        "reclass" => reclass::run(scale),
        "rotate" => rotate::run(scale),
        "giveaway" => giveaway::run(scale),
        _ => return Err(harness::unknown(name)),
    })
}
