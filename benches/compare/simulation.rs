//! Instructions and cache misses of whole workloads in a processor that cachegrind simulates: what a program and its
//! allocator do, whatever else the machine does meanwhile. It has no clock, no second core and no kernel, and takes a
//! miss for a miss, whether or not something waits for it: so it explains times, and does not replace them.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::binaries::Contestant;
use crate::case::Case;
use crate::catalogue::{ALLOCATORS, Allocator, Kind, PROFILES, SUBJECT, WORKLOADS, Workload};
use crate::inputs::Inputs;
use crate::machine;
use crate::options::Options;
use crate::results::geometric_mean;
use crate::runner::{self, Failure};

/// A first cache of 32 KiB, and behind it one of 512 KiB, as a core of the machines in use has for itself.
const CACHES: [&str; 2] = ["--D1=32768,8,64", "--LL=524288,8,64"];

/// It takes fifty times as long as the program alone.
const QUICK_SCALE_PARTS: u32 = 2;

const MILLION: f64 = 1e6;

const HEADER: &str = "profile,allocator,workload,instructions,first_misses,last_misses";

/// Of one workload under one allocator.
pub struct Counts {
    profile: &'static str,
    allocator: &'static str,
    workload: &'static str,
    /// Instructions, misses of the first cache, and misses of the one behind it.
    numbers: [u64; 3],
}

impl Counts {
    /// What is counted once.
    fn run(&self) -> (&'static str, &'static str, &'static str) {
        (self.profile, self.allocator, self.workload)
    }
}

/// Each workload of one thread under each allocator, as many at a time as there are cores.
pub fn run_all(
    options: &Options,
    contestants: &[Contestant],
    inputs: &Inputs,
) -> (Vec<Counts>, Vec<Failure>) {
    let runs: Vec<(&Case, &Contestant)> = options
        .timed()
        .filter(|case| case.threads.is_none() && case.kind() != Kind::Start)
        .flat_map(|case| contestants.iter().map(move |contestant| (case, contestant)))
        .filter(|(case, contestant)| case.workload.suite == contestant.suite)
        .collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new((Vec::new(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..machine::cores() {
            scope.spawn(|| {
                while let Some(&(case, contestant)) = runs.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    eprintln!("simulating {} with {}", case.name(), contestant.allocator);
                    let outcome = run_once(case, contestant, inputs);
                    let mut done = done.lock().expect("no thread panics while it holds the lock");
                    match outcome {
                        Ok(counts) => done.0.push(counts),
                        Err(message) => done.1.push(Failure {
                            case: case.name().to_owned(),
                            allocator: contestant.allocator,
                            profile: contestant.profile,
                            message,
                        }),
                    }
                }
            });
        }
    });
    done.into_inner().expect("no thread has panicked")
}

fn run_once(case: &Case, contestant: &Contestant, inputs: &Inputs) -> Result<Counts, String> {
    let workload = case.workload;
    let scale = (workload.quick_scale / QUICK_SCALE_PARTS).max(1);
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=cachegrind", "--cache-sim=yes", "--cachegrind-out-file=/dev/null"])
        .args(CACHES)
        .arg(&contestant.executable)
        .args([workload.name, &scale.to_string()])
        .args(inputs.file(workload.input));
    // The rest is where the program was when it failed.
    let first_line = |message: String| message.lines().next().unwrap_or_default().to_owned();
    let (_, said) = runner::execute(&mut command).map_err(first_line)?;
    let count = |name: &str| count_in(&said, name).ok_or_else(|| format!("no {name} in {said}"));
    Ok(Counts {
        profile: contestant.profile,
        allocator: contestant.allocator,
        workload: workload.name,
        numbers: [count("I refs")?, count("D1 misses")?, count("LLd misses")?],
    })
}

/// The number behind a name, in a line such as `==1== D1  misses:   1,234  (...)`.
fn count_in(said: &str, name: &str) -> Option<u64> {
    said.lines().find_map(|line| {
        let (label, rest) = line.split_once(':')?;
        let words: Vec<&str> = label.split_whitespace().skip(1).collect();
        (words.join(" ") == name).then_some(())?;
        rest.split_whitespace().next()?.replace(',', "").parse().ok()
    })
}

/// With what a file has of other runs, if there is one: those of one day on one machine make one record, also where
/// they were asked for in parts.
pub fn added_to(path: &Path, counts: Vec<Counts>) -> Result<Vec<Counts>, String> {
    if !path.exists() {
        return Ok(counts);
    }
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut all = Vec::new();
    for line in text.lines().filter(|line| *line != HEADER) {
        let known = counts_of(line)
            .ok_or_else(|| format!("{}: unexpected line {line:?}", path.display()))?;
        if !counts.iter().any(|counts| counts.run() == known.run()) {
            all.push(known);
        }
    }
    all.extend(counts);
    Ok(all)
}

/// Puts runs in the order of the catalogue, not of their ends.
pub fn sort(counts: &mut [Counts]) {
    let workloads = WORKLOADS.map(|entry| entry.name);
    let allocators = ALLOCATORS.map(|entry| entry.name);
    let place = |names: &[&str], name| names.iter().position(|it| *it == name);
    counts.sort_by_key(|counts| {
        let (profile, allocator, workload) = counts.run();
        (place(&PROFILES, profile), place(&workloads, workload), place(&allocators, allocator))
    });
}

/// `None` if it is no such line, or names what the catalogue does not have.
fn counts_of(line: &str) -> Option<Counts> {
    let mut fields = line.split(',');
    let (profile, allocator, workload) = (fields.next()?, fields.next()?, fields.next()?);
    let numbers: Option<Vec<u64>> = fields.map(|field| field.parse().ok()).collect();
    Some(Counts {
        profile: PROFILES.into_iter().find(|name| *name == profile)?,
        allocator: ALLOCATORS.iter().map(|entry| entry.name).find(|name| *name == allocator)?,
        workload: WORKLOADS.iter().map(|entry| entry.name).find(|name| *name == workload)?,
        numbers: numbers?.try_into().ok()?,
    })
}

/// The allocators that were counted, in the order of the catalogue.
pub fn allocators(counts: &[Counts]) -> Vec<&'static Allocator> {
    let is_counted =
        |entry: &&Allocator| counts.iter().any(|counts| counts.allocator == entry.name);
    ALLOCATORS.iter().filter(is_counted).collect()
}

/// All counts, one run a line.
pub fn to_text(counts: &[Counts]) -> String {
    let mut text = format!("{HEADER}\n");
    for Counts { profile, allocator, workload, numbers: [instructions, first, last] } in counts {
        writeln!(text, "{profile},{allocator},{workload},{instructions},{first},{last}")
            .expect("writing to a String does not fail");
    }
    text
}

/// Tables in Markdown, of what each peer counts divided by what the subject does.
pub fn render(counts: &[Counts], environment: &[String]) -> String {
    let mut text = format!(
        "{}\n\nEach cell: instructions, misses of a first cache of 32 KiB and of a second of 512 KiB, each \
         divided by {SUBJECT}'s, whose own are in millions. Above 1, {SUBJECT} is ahead. Simulated by cachegrind, in \
         which not every allocator runs.\n",
        environment.join("\n\n")
    );
    for profile in PROFILES {
        for kind in Kind::TIMED {
            let of_kind = |counts: &&Counts| {
                let is_of = |entry: &Workload| entry.name == counts.workload && entry.kind == kind;
                counts.profile == profile && WORKLOADS.iter().any(is_of)
            };
            let of_kind: Vec<&Counts> = counts.iter().filter(of_kind).collect();
            if !of_kind.is_empty() {
                let table = table(&allocators(counts), &of_kind);
                write!(text, "\n## Profile {profile}: {}\n\n{table}", kind.name())
                    .expect("writing to a String does not fail");
            }
        }
    }
    text
}

fn table(allocators: &[&Allocator], counts: &[&Counts]) -> String {
    let find = |workload: &str, allocator: &str| {
        let is_it =
            |counts: &&&Counts| counts.workload == workload && counts.allocator == allocator;
        counts.iter().find(is_it).map(|counts| counts.numbers.map(|number| number as f64))
    };
    let own: Vec<(&str, [f64; 3])> = WORKLOADS
        .iter()
        .filter_map(|entry| Some((entry.name, find(entry.name, SUBJECT)?)))
        .collect();
    let peers = allocators.iter().map(|entry| entry.name).filter(|name| *name != SUBJECT);
    let mut columns = vec![vec!["workload".to_owned(), "---".to_owned()]];
    columns[0].extend(own.iter().map(|(workload, _)| (*workload).to_owned()));
    columns[0].push("**geometric mean**".to_owned());
    columns.push(vec![SUBJECT.to_owned(), "---".to_owned()]);
    columns[1].extend(own.iter().map(|(_, numbers)| cell(&numbers.map(|it| it / MILLION))));
    columns[1].push(String::new());
    for peer in peers {
        let ratios: Vec<Option<[f64; 3]>> = own
            .iter()
            .map(|(workload, own)| {
                let numbers = find(workload, peer)?;
                Some([0, 1, 2].map(|place| numbers[place] / own[place]))
            })
            .collect();
        let mean = |place: usize| geometric_mean(ratios.iter().map(|it| it.map(|it| it[place])));
        let means = || Some([mean(0)?, mean(1)?, mean(2)?]);
        let cell_or_dash = |it: Option<[f64; 3]>| it.map_or_else(|| "-".to_owned(), |it| cell(&it));
        let mut column = vec![peer.to_owned(), "---".to_owned()];
        column.extend(ratios.iter().map(|ratios| cell_or_dash(*ratios)));
        column.push(cell_or_dash(means()));
        columns.push(column);
    }
    let row = |place: usize| {
        let cells: Vec<&str> = columns.iter().map(|column| column[place].as_str()).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    (0..columns[0].len()).map(row).collect()
}

fn cell(numbers: &[f64; 3]) -> String {
    let [instructions, first, last] = numbers;
    format!("{instructions:.2} · {first:.2} · {last:.2}")
}
