//! Runs real work on real input under each global allocator, and compares time and memory.
//!
//! The work is the package `workload`, built once for each allocator and profile, so that an allocator is
//! inlined as it is for a user. `cargo bench --bench compare -- --help` lists the options.

mod binaries;
mod case;
mod catalogue;
mod chart;
mod inputs;
mod machine;
mod options;
mod results;
mod runner;
mod svg;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use binaries::Absence;
use catalogue::SUBJECT;
use inputs::Inputs;
use options::{Command, Options};
use results::Results;
use runner::Failure;

const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Compare(options)) => options,
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
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the subject was built and every run did its work.
fn compare(options: &Options) -> Result<bool, String> {
    let target = target_directory();
    let directory = target.join("compare");
    fs::create_dir_all(&directory)
        .map_err(|error| format!("cannot create {}: {error}", directory.display()))?;
    let inputs = Inputs::prepare(&directory)?;
    let (contestants, absences) =
        binaries::build_all(options, &target, &directory.join("binaries"));
    let (results, failures) = runner::run_all(options, &contestants, &inputs);
    let environment = machine::describe(&options.allocators, &inputs);

    println!("{}\n", environment.join("\n"));
    for profile in &options.profiles {
        println!("{}", table::render(profile, options, &results));
    }
    print_problems(&absences, &failures);
    save(&directory, options, &results, &environment)?;
    let lacks_subject = absences.iter().any(|absence| absence.allocator == SUBJECT);
    Ok(!results.is_empty() && !lacks_subject && failures.is_empty())
}

/// That of the cargo which built this: what is already built there is not built again.
fn target_directory() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().unwrap_or(temporary).to_owned()
}

fn print_problems(absences: &[Absence], failures: &[Failure]) {
    for Absence { allocator, profile, reason } in absences {
        println!("ABSENT: {allocator} ({profile}): {reason}\n");
    }
    for Failure { case, allocator, profile, message } in failures {
        let message = message.trim_end();
        println!("FAILED: {case} with {allocator} ({profile}): {message}\n");
    }
}

fn save(
    directory: &Path,
    options: &Options,
    results: &Results,
    environment: &[String],
) -> Result<(), String> {
    let table = directory.join("results.csv");
    inputs::write(&table, &results.to_csv())?;
    println!("{}", table.display());
    // The chart shows times; an older one is not overwritten by an empty one.
    if options.timed().next().is_some() {
        let chart = directory.join("chart.svg");
        inputs::write(&chart, &chart::render(options, results, environment))?;
        println!("{}", chart.display());
    }
    Ok(())
}
