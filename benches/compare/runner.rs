//! Runs the binaries, in alternating order, and reads what they print.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use crate::binaries::Contestant;
use crate::case::Case;
use crate::handover::Handovers;
use crate::inputs::Inputs;
use crate::options::Options;
use crate::results::{Results, Sample};

/// No run takes seconds on any machine in use; one that takes minutes hangs.
const TIME_LIMIT: Duration = Duration::from_secs(180);
/// In which a binary finds the number of threads.
const THREADS_VARIABLE: &str = "WORKLOAD_THREADS";
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What a workload prints about one run.
pub struct Report {
    pub elapsed_ns: u64,
    pub operations: Option<u64>,
    pub checksum: u64,
    pub peak_rss: Option<u64>,
    pub end_rss: Option<u64>,
    /// Only of workloads about memory: what was resident at the moment of interest, and what that is
    /// compared to.
    pub held: Option<u64>,
    pub reference: Option<u64>,
}

/// A run that did not do its work.
pub struct Failure {
    pub case: String,
    pub allocator: &'static str,
    pub profile: &'static str,
    pub message: String,
}

pub fn run_all(
    options: &Options,
    contestants: &[Contestant],
    inputs: &Inputs,
) -> (Results, Vec<Failure>, Handovers) {
    let mut handovers = Handovers::default();
    let mut results = Results::default();
    let mut failures: Vec<Failure> = Vec::new();
    let start = Instant::now();
    for round in 1..=options.rounds {
        for case in &options.cases {
            let seconds = start.elapsed().as_secs();
            let rounds = options.rounds;
            eprintln!("{seconds:4} s  round {round} of {rounds}: {}", case.name());
            handovers.measure();
            for contestant in in_order_of(round, case, contestants) {
                let has_failed = failures.iter().any(|failure| {
                    failure.case == case.name()
                        && failure.allocator == contestant.allocator
                        && failure.profile == contestant.profile
                });
                if has_failed {
                    continue;
                }
                match run_once(options, contestant, case, inputs, &results) {
                    Ok(report) => results.add(Sample {
                        round,
                        workload: case.workload.name,
                        threads: case.threads,
                        allocator: contestant.allocator,
                        profile: contestant.profile,
                        report,
                    }),
                    Err(message) => failures.push(Failure {
                        case: case.name().to_owned(),
                        allocator: contestant.allocator,
                        profile: contestant.profile,
                        message,
                    }),
                }
            }
        }
    }
    (results, failures, handovers)
}

/// Each round starts with another contestant, and every other round goes backwards: neither a drift of
/// the machine nor what a neighbour leaves behind falls on the same contestant each time.
fn in_order_of<'a>(round: u32, case: &Case, contestants: &'a [Contestant]) -> Vec<&'a Contestant> {
    let suite = case.workload.suite;
    let mut order: Vec<_> =
        contestants.iter().filter(|contestant| contestant.suite == suite).collect();
    if !order.is_empty() {
        let first = round as usize % order.len();
        order.rotate_left(first);
    }
    if round.is_multiple_of(2) {
        order.reverse();
    }
    order
}

fn run_once(
    options: &Options,
    contestant: &Contestant,
    case: &Case,
    inputs: &Inputs,
    results: &Results,
) -> Result<Report, String> {
    let workload = case.workload;
    let scale = if options.quick { workload.quick_scale } else { workload.full_scale };
    let mut command = Command::new(&contestant.executable);
    command.arg(workload.name).arg(scale.to_string()).args(inputs.file(workload.input));
    if let Some(threads) = case.threads {
        command.env(THREADS_VARIABLE, threads.to_string());
    }
    let (stdout, stderr) = execute(&mut command)?;
    let report: Report = stdout.parse().map_err(|error| format!("{error}\n{stderr}"))?;
    match results.checksum(case) {
        Some((checksum, allocator, profile)) if checksum != report.checksum => Err(format!(
            "checksum {}, but {checksum} with {allocator} ({profile})\n{stderr}",
            report.checksum
        )),
        _ => Ok(report),
    }
}

/// The standard output and standard error of a successful run.
pub fn execute(command: &mut Command) -> Result<(String, String), String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let status = wait(&mut child);
    let stdout = read(child.stdout.take());
    let stderr = read(child.stderr.take());
    match status? {
        Some(status) if status.success() => Ok((stdout, stderr)),
        Some(status) => Err(format!("{status}\n{stderr}")),
        None => Err(format!("no end after {} s\n{stderr}", TIME_LIMIT.as_secs())),
    }
}

/// Waits for the end of a process that prints less than a pipe holds; `None` if it had to be killed.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>, String> {
    let cannot_wait = |error| format!("cannot wait for a workload: {error}");
    let start = Instant::now();
    while start.elapsed() < TIME_LIMIT {
        if let Some(status) = child.try_wait().map_err(cannot_wait)? {
            return Ok(Some(status));
        }
        thread::sleep(POLL_INTERVAL);
    }
    child.kill().map_err(cannot_wait)?;
    child.wait().map_err(cannot_wait)?;
    Ok(None)
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe
        && let Err(error) = pipe.read_to_end(&mut bytes)
    {
        return format!("(unreadable: {error})");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl FromStr for Report {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let unexpected = || format!("unexpected output {line:?}");
        let field = |name: &str| -> Result<Option<u64>, String> {
            let value = line
                .split_whitespace()
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
                .ok_or_else(unexpected)?;
            match value {
                "-" => Ok(None),
                _ => value.parse().map(Some).map_err(|_| unexpected()),
            }
        };
        Ok(Self {
            elapsed_ns: field("elapsed_ns")?.ok_or_else(unexpected)?,
            operations: field("operations")?,
            checksum: field("checksum")?.ok_or_else(unexpected)?,
            peak_rss: field("peak_rss")?,
            end_rss: field("end_rss")?,
            held: field("held")?,
            reference: field("reference")?,
        })
    }
}
