//! What every workload runs in: reads the command line, and prints what the work took.
//!
//! The work is the same in every build: inputs are read before the clock starts, random numbers have fixed
//! seeds, and the checksum lets the caller see that no allocator computed something else. Memory is read
//! after the clock stopped and everything was dropped; what a workload holds at a moment of its own, then.

use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crate::memory::{self, Held};

const USAGE: &str = "usage: NAME SCALE [INPUT]";

const THREADS_VARIABLE: &str = "WORKLOAD_THREADS";

/// Time for purges that an allocator does behind the program's back, before the final memory is read.
const REST: Duration = Duration::from_millis(100);

/// What a workload hands back once all it allocated is dropped.
pub struct Measurement {
    pub elapsed: Duration,
    pub operations: Option<u64>,
    pub checksum: u64,
    /// Read before the drop, where a workload asks how much memory comes back.
    pub held: Option<Held>,
}

/// The file that a workload reads before its clock starts, if one was named.
pub struct Input(Option<PathBuf>);

impl Input {
    pub fn file(&self) -> Result<&Path, String> {
        self.0.as_deref().ok_or_else(|| format!("an input file is needed; {USAGE}"))
    }
}

/// Of the workload's name, its scale and its input.
type Measure = fn(&str, u32, Input) -> Result<Measurement, String>;

pub fn main(measure: Measure) -> ExitCode {
    match run(env::args().skip(1), measure) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>, measure: Measure) -> Result<String, String> {
    let (Some(name), Some(scale)) = (arguments.next(), arguments.next()) else {
        return Err(USAGE.to_owned());
    };
    let scale = scale.parse().map_err(|_| format!("scale {scale:?} is not a number; {USAGE}"))?;
    let measurement = measure(&name, scale, Input(arguments.next().map(PathBuf::from)))?;
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

pub fn unknown(name: &str) -> String {
    format!("no workload is named {name:?}")
}

/// How many threads a workload may keep busy: all cores of the machine, unless the caller asks for another
/// number.
pub fn cores() -> Result<usize, String> {
    let Some(value) = env::var_os(THREADS_VARIABLE) else {
        return Ok(thread::available_parallelism().map_or(1, usize::from));
    };
    match value.to_str().map(str::parse) {
        Some(Ok(threads @ 1..)) => Ok(threads),
        _ => Err(format!("{THREADS_VARIABLE} is {value:?}, which is not a number of threads")),
    }
}

fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
