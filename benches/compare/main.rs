//! Runs real work on real input under each global allocator, and compares time and memory.
//!
//! The work is the package `workload`, built once for each allocator and profile, so that an allocator is
//! inlined as it is for a user. `cargo bench --bench compare -- --help` lists the options.

mod binaries;
mod case;
mod catalogue;
mod chart;
mod handover;
mod inputs;
mod machine;
mod markdown;
mod options;
mod record;
mod results;
mod runner;
mod simulation;
mod svg;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use binaries::{Absence, Contestant};
use catalogue::{Kind, SUBJECT};
use inputs::Inputs;
use options::{Command, Options};
use record::Record;
use runner::Failure;

const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Compare(options)) => options,
        Ok(Command::Redraw(path)) => {
            return match redraw(&path) {
                Ok(()) => ExitCode::SUCCESS,
                Err(message) => fail(&message),
            };
        }
        Ok(Command::Help) => {
            print!("{}", options::usage());
            return ExitCode::SUCCESS;
        }
        Ok(Command::Skip) => {
            println!("nothing to test; run `cargo bench --bench compare`");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprint!("error: {message}\n\n{}", options::usage());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match compare(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}

/// Whether the subject was built and every run did its work.
fn compare(options: &Options) -> Result<bool, String> {
    let target = target_directory();
    let directory = target.join("compare");
    create(&directory)?;
    let inputs = Inputs::prepare(&directory)?;
    let (contestants, absences) =
        binaries::build_all(options, &target, &directory.join("binaries"));
    if options.simulates {
        return simulate(options, &contestants, &absences, &inputs, &directory);
    }
    let (results, failures, handovers) = runner::run_all(options, &contestants, &inputs);
    let mut environment = machine::describe(&options.allocators, &inputs);
    environment.extend(handovers.describe());

    println!("{}\n", environment.join("\n"));
    for profile in &options.profiles {
        println!("{}", table::render(profile, options, &results));
    }
    print_problems(&absences, &failures);
    let record = Record { environment, results };
    save(&directory, options, &record)?;
    let lacks_subject = absences.iter().any(|absence| absence.allocator == SUBJECT);
    let is_complete = !record.results.is_empty() && !lacks_subject && failures.is_empty();
    if let Some(machine) = &options.machine {
        keep(machine, record)?;
    }
    Ok(is_complete)
}

/// Whether the subject was built and counted in every workload. That a peer does not run there is reported, and no
/// failure: one does not.
fn simulate(
    options: &Options,
    contestants: &[Contestant],
    absences: &[Absence],
    inputs: &Inputs,
    directory: &Path,
) -> Result<bool, String> {
    let (counts, failures) = simulation::run_all(options, contestants, inputs);
    let lacks_subject = absences.iter().any(|absence| absence.allocator == SUBJECT)
        || failures.iter().any(|failure| failure.allocator == SUBJECT);
    let is_complete = !counts.is_empty() && !lacks_subject;
    let (place, mut counts) = match &options.machine {
        None => (directory.join("simulated.csv"), counts),
        Some(machine) => {
            let name = format!("{}-simulated.csv", machine::date()?);
            let place = record_folder(machine)?.join(name);
            let counts = simulation::added_to(&place, counts)?;
            (place, counts)
        }
    };
    simulation::sort(&mut counts);
    let environment = machine::describe(&simulation::allocators(&counts), inputs);
    let tables = simulation::render(&counts, &environment);
    println!("{tables}");
    print_problems(absences, &failures);
    inputs::write(&place, &simulation::to_text(&counts))?;
    inputs::write(&place.with_extension("md"), &tables)?;
    println!("{}", place.display());
    Ok(is_complete)
}

/// That of the cargo which built this: what is already built there is not built again.
fn target_directory() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().unwrap_or(temporary).to_owned()
}

fn print_problems(absences: &[Absence], failures: &[Failure]) {
    for Absence { suite, allocator, profile, reason } in absences {
        println!("ABSENT: {} with {allocator} ({profile}): {reason}\n", suite.binary());
    }
    for Failure { case, allocator, profile, message } in failures {
        let message = message.trim_end();
        println!("FAILED: {case} with {allocator} ({profile}): {message}\n");
    }
}

fn save(directory: &Path, options: &Options, record: &Record) -> Result<(), String> {
    let table = directory.join("results.csv");
    let text = record.to_text();
    inputs::write(&table, &text)?;
    println!("{}", table.display());
    draw(directory, options, record)
}

/// Adds the results to what was recorded today on a machine of this name.
fn keep(machine: &str, record: Record) -> Result<(), String> {
    let path = record_folder(machine)?.join(format!("{}.csv", machine::date()?));
    inputs::write(&path, &record.added_to(&path)?.to_text())?;
    println!("{}", path.display());
    Ok(())
}

/// Where what is measured on a machine of this name is kept.
fn record_folder(machine: &str) -> Result<PathBuf, String> {
    let folder = benches().join("record").join(machine);
    create(&folder)?;
    Ok(folder)
}

/// The charts that there are cases for; others stay as they are.
fn draw(directory: &Path, options: &Options, record: &Record) -> Result<(), String> {
    let Record { environment, results } = record;
    for kind in Kind::CHARTED {
        if let Some(chart) = chart::render(kind, options, results, environment) {
            let path = directory.join(format!("{}.svg", kind.name().replace(' ', "-")));
            inputs::write(&path, &chart)?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// Draws the charts of README.md from a record, and writes its tables beside it.
fn redraw(path: &Path) -> Result<(), String> {
    let record = Record::read(path)?;
    let options = record.options();
    draw(&benches().join("pictures"), &options, &record)?;
    let tables = path.with_extension("md");
    inputs::write(&tables, &markdown::render(&options, &record.results, &record.environment))?;
    println!("{}", tables.display());
    Ok(())
}

fn benches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

fn create(directory: &Path) -> Result<(), String> {
    fs::create_dir_all(directory)
        .map_err(|error| format!("cannot create {}: {error}", directory.display()))
}
