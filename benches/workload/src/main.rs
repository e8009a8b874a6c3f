//! Runs one workload under the global allocator that this binary was built with, and prints what it took.

#![forbid(unsafe_code)]

mod allocator;
mod block;
mod btree;
mod buffers;
mod drift;
mod false_sharing;
mod frames;
mod giveaway;
mod harness;
mod index;
mod json;
mod larson;
mod list;
mod map;
mod memory;
mod pairs;
mod parallel;
mod pipeline;
mod random;
mod reclass;
mod replace;
mod ring;
mod rotate;
mod rptest;
mod scatter;
mod short_threads;
mod smartheap;
mod sources;
mod spike;
mod start;
mod stress;
mod strings;
mod syntax;
mod trees;
mod workers;
mod xmalloc;

use std::process::ExitCode;

use harness::{Input, Measurement, cores};

fn main() -> ExitCode {
    start::nothing().unwrap_or_else(|| harness::main(measure))
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
        "xmalloc" => xmalloc::run(cores()?, scale),
        "mstress" => stress::run(cores()?, scale),
        "rptest" => rptest::run(cores()?, scale),
        "sh6" => smartheap::own(cores()?, scale),
        "sh8" => smartheap::crossed(cores()?, scale),
        "scratch" => false_sharing::passive(cores()?, scale),
        "thrash" => false_sharing::active(cores()?, scale),
        "threads" => short_threads::run(cores()?, scale),
        "btree" => btree::run(scale),
        "strings" => strings::run(scale),
        "map" => map::run(scale),
        "list" => list::short(scale),
        "scatter" => scatter::run(scale),
        "frames" => frames::run(scale),
        "start" => start::run(scale)?,
        "spike" => spike::all_freed(scale),
        "sparse" | "sparse-80" => spike::some_kept(scale),
        "list-20" => list::long(20, scale),
        "list-3" => list::long(3, scale),
        "drift" => drift::run(scale),
        "reclass" => reclass::run(scale),
        "rotate" => rotate::run(scale),
        "giveaway" => giveaway::run(scale),
        _ => return Err(harness::unknown(name)),
    })
}
