//! Real programs: each does with a published crate what users of that crate do.
//!
//! They are a package of their own because their dependencies take minutes to build, and a library so that
//! they are compiled once: what differs from allocator to allocator is the binary `programs` of the package
//! `workload`, and nothing here knows an allocator. Inputs are read before the clock starts. No checksum
//! depends on the seeds of hash maps, on addresses or on the order in which threads run.

#![forbid(unsafe_code)]

mod asynchronous;
mod digest;
mod egraph;
mod html;
mod javascript;
mod markdown;
mod patterns;
mod persistent;
mod regular_expressions;
mod script;
mod search;
mod sql;
mod statements;
mod toml;

use std::time::Duration;

/// What a program hands back once all it allocated is dropped.
pub struct Outcome {
    pub elapsed: Duration,
    pub checksum: u64,
}

/// Runs the program of a name, if there is one, on the texts that it works on, if it does on any.
pub fn run(name: &str, scale: u32, texts: &[String]) -> Option<Result<Outcome, String>> {
    Some(match name {
        "regex" => regular_expressions::run(scale),
        "html" => html::run(texts, scale),
        "markdown" => Ok(markdown::run(texts, scale)),
        "search" => search::run(texts, scale),
        "egraph" => egraph::run(scale),
        "javascript" => javascript::run(scale),
        "persistent" => Ok(persistent::run(scale)),
        "async" => asynchronous::run(scale),
        "toml" => toml::run(texts, scale),
        "sql" => sql::run(scale),
        "script" => script::run(scale),
        _ => return None,
    })
}
