//! Runs one program under the global allocator that this binary was built with, and prints what it took.
//!
//! Each program does with a published crate what users of that crate do. They are apart from the binary
//! `workload` because their dependencies take minutes to build. No checksum depends on the seeds of hash
//! maps, on addresses or on the order in which threads run.

#![forbid(unsafe_code)]

#[path = "../allocator.rs"]
mod allocator;
mod asynchronous;
mod digest;
mod egraph;
#[path = "../harness.rs"]
mod harness;
mod html;
mod javascript;
mod markdown;
#[path = "../memory.rs"]
#[expect(dead_code, reason = "no program asks what is held")]
mod memory;
mod patterns;
mod persistent;
#[path = "../random.rs"]
#[expect(dead_code, reason = "no program shuffles")]
mod random;
mod regular_expressions;
mod script;
mod search;
#[path = "../sources.rs"]
mod sources;
mod sql;
mod statements;
mod toml;

use std::process::ExitCode;

use harness::{Input, Measurement};

fn main() -> ExitCode {
    harness::main(measure)
}

fn measure(name: &str, scale: u32, input: Input) -> Result<Measurement, String> {
    match name {
        "regex" => regular_expressions::run(scale),
        "html" => html::run(input.file()?, scale),
        "markdown" => markdown::run(input.file()?, scale),
        "search" => search::run(input.file()?, scale),
        "egraph" => egraph::run(scale),
        "javascript" => javascript::run(scale),
        "persistent" => Ok(persistent::run(scale)),
        "async" => asynchronous::run(scale),
        "toml" => toml::run(input.file()?, scale),
        "sql" => sql::run(scale),
        "script" => script::run(scale),
        _ => Err(harness::unknown(name)),
    }
}
