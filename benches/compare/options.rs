//! The command line.

use std::path::PathBuf;

use crate::case::{Case, ThreadCounts};
use crate::catalogue::{ALLOCATORS, Allocator, Kind, PROFILES, SUITES, Suite, WORKLOADS, Workload};
use crate::machine;

const FULL_ROUNDS: u32 = 5;
const QUICK_ROUNDS: u32 = 3;

pub struct Options {
    pub quick: bool,
    /// Counts what a simulated processor does, in place of times.
    pub simulates: bool,
    pub rounds: u32,
    pub cases: Vec<Case>,
    pub allocators: Vec<&'static Allocator>,
    pub profiles: Vec<&'static str>,
    /// The name under which the results are recorded, if they are.
    pub machine: Option<String>,
}

impl Options {
    /// Those of the cases: what is to be built.
    pub fn suites(&self) -> impl Iterator<Item = Suite> {
        let has_cases = |suite| self.cases.iter().any(|case| case.workload.suite == suite);
        SUITES.into_iter().filter(move |&suite| has_cases(suite))
    }

    /// The cases that are compared by time.
    pub fn timed(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(|case| Kind::TIMED.contains(&case.kind()))
    }

    /// The cases that are compared by what they hold.
    pub fn memory(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(|case| case.kind() == Kind::Memory)
    }
}

pub enum Command {
    Compare(Options),
    /// Draws what was recorded in a file.
    Redraw(PathBuf),
    Help,
    /// `cargo test` runs benches too, without the argument `--bench`, and expects them to be short.
    Skip,
}

pub fn usage() -> String {
    format!(
        "\
usage: cargo bench --bench compare -- [OPTIONS]

Runs each workload under each global allocator, in a process of its own.

  --quick             less work and {QUICK_ROUNDS} rounds, for a first impression
  --simulate          count instructions and cache misses of the workloads of one thread, each once and with
                      little work, in a processor that cachegrind simulates; nothing is timed
  --rounds N          runs of each workload under each allocator (default {FULL_ROUNDS})
  --suites A,B        the workloads of these suites: {}; the first by default, since the
                      programs take minutes to build in each profile, with fat LTO for each allocator
  --only A,B          these workloads: {}
  --threads A,B       run threaded workloads with these numbers of threads (default: one for each core)
  --allocators A,B    these allocators: {}
  --profiles A,B      these cargo profiles: {}
  --record MACHINE    keep the results in benches/record/MACHINE/DATE.csv, or DATE-simulated.csv and .md
  --redraw FILE       run nothing: draw the charts and tables of README.md from such a file
  --help              this text
",
        names(&SUITES, |suite| suite.name()),
        names(&WORKLOADS, |workload| workload.name),
        names(&ALLOCATORS, |allocator| allocator.name),
        names(&PROFILES, |profile| profile),
    )
}

pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut is_bench = false;
    let mut rounds = None;
    let mut named: Option<Vec<&'static Workload>> = None;
    let mut thread_counts = ThreadCounts::Cores(machine::cores());
    let mut suites: Option<Vec<&Suite>> = None;
    let mut options = Options {
        quick: false,
        simulates: false,
        rounds: 0,
        cases: Vec::new(),
        allocators: ALLOCATORS.iter().collect(),
        profiles: PROFILES.to_vec(),
        machine: None,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next().filter(|value| !value.starts_with("--"));
            value.ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--bench" => is_bench = true,
            "--help" | "-h" => return Ok(Command::Help),
            "--redraw" => return Ok(Command::Redraw(PathBuf::from(value()?))),
            "--record" => options.machine = Some(parse_machine(value()?)?),
            "--quick" => options.quick = true,
            "--simulate" => options.simulates = true,
            "--rounds" => rounds = Some(parse_rounds(&value()?)?),
            "--suites" => suites = Some(choose(&value()?, &SUITES, |entry| entry.name())?),
            "--only" => named = Some(choose(&value()?, &WORKLOADS, |entry| entry.name)?),
            "--threads" => thread_counts = ThreadCounts::Chosen(parse_threads(&value()?)?),
            "--allocators" => {
                options.allocators = choose(&value()?, &ALLOCATORS, |entry| entry.name)?;
            }
            "--profiles" => {
                let chosen = choose(&value()?, &PROFILES, |entry| entry)?;
                options.profiles = chosen.into_iter().copied().collect();
            }
            _ => return Err(format!("unknown argument {argument:?}")),
        }
    }
    // A workload that is named runs, whatever suite it is in.
    let default_suites = if named.is_some() { &SUITES[..] } else { &[Suite::Lean] };
    let suites = suites.unwrap_or_else(|| default_suites.iter().collect());
    let mut workloads = named.unwrap_or_else(|| WORKLOADS.iter().collect());
    workloads.retain(|workload| suites.contains(&&workload.suite));
    if workloads.is_empty() {
        return Err("none of these workloads is in these suites".to_owned());
    }
    let default_rounds = if options.quick { QUICK_ROUNDS } else { FULL_ROUNDS };
    options.rounds = rounds.unwrap_or(default_rounds);
    options.cases = Case::all(&workloads, &thread_counts);
    Ok(if is_bench { Command::Compare(options) } else { Command::Skip })
}

fn parse_rounds(value: &str) -> Result<u32, String> {
    match value.parse() {
        Ok(rounds @ 1..) => Ok(rounds),
        _ => Err(format!("{value:?} is not a number of rounds")),
    }
}

/// It names a folder.
fn parse_machine(value: String) -> Result<String, String> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if value.chars().all(is_plain) { Ok(value) } else { Err(format!("{value:?} names no folder")) }
}

/// Each number once, in ascending order.
fn parse_threads(value: &str) -> Result<Vec<usize>, String> {
    let mut counts = Vec::new();
    for count in value.split(',') {
        match count.parse() {
            Ok(threads @ 1..) => counts.push(threads),
            _ => return Err(format!("{count:?} is not a number of threads")),
        }
    }
    counts.sort_unstable();
    counts.dedup();
    Ok(counts)
}

/// The entries that `list` names, in the order of the catalogue.
fn choose<T>(
    list: &str,
    catalogue: &'static [T],
    name: fn(&T) -> &str,
) -> Result<Vec<&'static T>, String> {
    let wanted: Vec<&str> = list.split(',').collect();
    let is_known = |wanted: &str| catalogue.iter().any(|entry| name(entry) == wanted);
    if let Some(unknown) = wanted.iter().find(|wanted| !is_known(wanted)) {
        let known = names(catalogue, name);
        return Err(format!("unknown name {unknown:?}; there are {known}"));
    }
    Ok(catalogue.iter().filter(|entry| wanted.contains(&name(entry))).collect())
}

fn names<T>(catalogue: &[T], name: fn(&T) -> &str) -> String {
    let names: Vec<&str> = catalogue.iter().map(name).collect();
    names.join(", ")
}
