//! Runs one real program under the global allocator that this binary was built with, and prints what it
//! took. The programs are the package `programs`.

#![forbid(unsafe_code)]

mod allocator;
#[expect(dead_code, reason = "how many cores there are only workloads ask")]
mod harness;
#[expect(dead_code, reason = "what is held only workloads ask")]
mod memory;
mod sources;

use std::process::ExitCode;

use harness::{Input, Measurement};

fn main() -> ExitCode {
    harness::main(measure)
}

fn measure(name: &str, scale: u32, input: Input) -> Result<Measurement, String> {
    // A program that works on texts does nothing without: only the name says whether it does.
    let texts = input.file().map_or_else(|_| Ok(Vec::new()), sources::read)?;
    let outcome = programs::run(name, scale, &texts).ok_or_else(|| harness::unknown(name))??;
    let programs::Outcome { elapsed, checksum } = outcome;
    Ok(Measurement { elapsed, operations: None, checksum, held: None })
}
