//! Runs one workload under the global allocator that this binary was built with, and prints what it took.
//!
//! The work is the same in every build: inputs are read before the clock starts, random numbers have fixed
//! seeds, and the checksum lets the caller see that no allocator computed something else. Memory is read
//! after the clock stopped and everything was dropped; what a workload holds at a moment of its own, then.

#![forbid(unsafe_code)]

mod allocator;
mod block;
mod buffers;
mod drift;
mod frames;
mod giveaway;
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

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use memory::Held;

const USAGE: &str = "usage: workload NAME SCALE [INPUT]";

/// Time for purges that an allocator does behind the program's back, before the final memory is read.
const REST: Duration = Duration::from_millis(100);

/// What a workload hands back once all it allocated is dropped.
struct Measurement {
    elapsed: Duration,
    operations: Option<u64>,
    checksum: u64,
    /// Read before the drop, where a workload asks how much memory comes back.
    held: Option<Held>,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("workload: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<String, String> {
    let (Some(name), Some(scale)) = (arguments.next(), arguments.next()) else {
        return Err(USAGE.to_owned());
    };
    let scale = scale.parse().map_err(|_| format!("scale {scale:?} is not a number; {USAGE}"))?;
    let input = arguments.next().map(PathBuf::from);
    let measurement = measure(&name, scale, input.as_deref())?;
    thread::sleep(REST);
    let end_rss = memory::resident();
    let peak_rss = memory::peak_resident();
    let held = measurement.held.as_ref();
    Ok(format!(
        "elapsed_ns={} operations={} checksum={} peak_rss={} end_rss={} held={} reference={}",
        measurement.elapsed.as_nanos(),
        or_dash(measurement.operations),
        measurement.checksum,
        or_dash(peak_rss),
        or_dash(end_rss),
        or_dash(held.map(|held| held.resident_bytes)),
        or_dash(held.map(|held| held.reference_bytes)),
    ))
}

fn measure(name: &str, scale: u32, input: Option<&Path>) -> Result<Measurement, String> {
    let input = || input.ok_or_else(|| format!("{name} needs an input file; {USAGE}"));
    Ok(match name {
        "json" => json::run(input()?, scale)?,
        "syn" => syntax::run(input()?, scale)?,
        "index" => index::run(input()?, scale)?,
        "trees-1" => trees::run(1, scale),
        "trees-n" => trees::run(cores(), scale),
        "larson-n" => larson::run(cores(), scale),
        "pipeline" => pipeline::run(cores(), scale),
        "pairs" => pairs::run(scale),
        "replace-1m" => replace::small(scale),
        "replace-8k" => replace::mixed(scale),
        "buffers" => buffers::run(cores(), scale),
        "frames" => frames::run(scale),
        "spike" => spike::all_freed(scale),
        "sparse" => spike::some_kept(scale),
        "list-20" => list::run(20, scale),
        "list-3" => list::run(3, scale),
        "drift" => drift::run(scale),
        "reclass" => reclass::run(scale),
        "rotate" => rotate::run(scale),
        "giveaway" => giveaway::run(scale),
        _ => return Err(format!("no workload is named {name:?}")),
    })
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
