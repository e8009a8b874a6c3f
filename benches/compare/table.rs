//! A table of times and one of memory for each profile, for people.

use std::fmt::Write;

use crate::case::Case;
use crate::catalogue::Kind;
use crate::options::Options;
use crate::results::{Metric, Results};

const NAME_WIDTH: usize = 13;
const CELL_WIDTH: usize = 32;
const MEMORY_CELL_WIDTH: usize = 29;
const MIB: f64 = (1 << 20) as f64;

/// What is about time, then what is about memory; a table without workloads is left out.
pub fn render(profile: &str, options: &Options, results: &Results) -> String {
    let mut tables = Vec::new();
    if options.timed().next().is_some() {
        tables.push(times(profile, options, results));
    }
    if options.memory().next().is_some() {
        tables.push(memory(profile, options, results));
    }
    tables.join("\n")
}

fn times(profile: &str, options: &Options, results: &Results) -> String {
    let baseline = results.baseline();
    let mut table = format!(
        "Profile {profile}. Median time in ms (rounds: {}); ±% is half the range; ratio is time / \
         {baseline}'s time (above 1: {baseline} is faster); peak and end are resident MiB.\n\n",
        options.rounds
    );
    let mut add = |name: &str, cell: &dyn Fn(&str) -> String| {
        table.push_str(&line(options, name, CELL_WIDTH, cell));
    };
    add("", &|allocator| format!(" {allocator}"));
    add("", &|_| row("ms", "±%", "ratio", "peak", "end"));
    for case in options.timed() {
        add(case.name(), &|allocator| measured(results, profile, allocator, case));
    }
    for kind in Kind::TIMED {
        if options.cases.iter().any(|case| case.kind() == kind) {
            add(kind.name(), &|allocator| {
                let mean =
                    results.mean_ratio(Metric::Time, profile, allocator, &options.cases, kind);
                row("", "", &or_dash(mean, two_decimals), "", "")
            });
        }
    }
    table.push_str("The last lines are geometric means of the ratios.\n");
    table
}

fn memory(profile: &str, options: &Options, results: &Results) -> String {
    let mut table = format!(
        "Profile {profile}, {}. Medians (rounds: {}); held is the resident MiB that a workload added, \
         read at its moment of interest; ratio is held / the reference that the workload names; end \
         is resident MiB soon after all was dropped.\n\n",
        Kind::Memory.name(),
        options.rounds
    );
    let mut add = |name: &str, cell: &dyn Fn(&str) -> String| {
        table.push_str(&line(options, name, MEMORY_CELL_WIDTH, cell));
    };
    add("", &|allocator| format!(" {allocator}"));
    add("", &|_| memory_row("ms", "held", "ratio", "end"));
    for case in options.memory() {
        add(case.name(), &|allocator| held(results, profile, allocator, case));
    }
    table
}

/// A line of a table: a name, and a cell for each allocator.
fn line(options: &Options, name: &str, cell_width: usize, cell: &dyn Fn(&str) -> String) -> String {
    let mut line = format!("{name:<NAME_WIDTH$}");
    for allocator in &options.allocators {
        write!(line, " |{:<cell_width$}", cell(allocator.name))
            .expect("writing to a String does not fail");
    }
    format!("{}\n", line.trim_end())
}

fn measured(results: &Results, profile: &str, allocator: &str, case: &Case) -> String {
    let Some(summary) = results.summary(profile, allocator, case) else {
        return row("-", "-", "-", "-", "-");
    };
    let spread = (summary.slowest - summary.fastest) / summary.time / 2.0;
    let ratio = results.ratio(Metric::Time, profile, allocator, case);
    row(
        &format!("{:.1}", summary.time * 1e3),
        &format!("{:.1}", spread * 100.0),
        &or_dash(ratio, two_decimals),
        &or_dash(summary.peak_rss, mib),
        &or_dash(summary.end_rss, mib),
    )
}

fn row(time: &str, spread: &str, ratio: &str, peak: &str, end: &str) -> String {
    format!("{time:>7} {spread:>5} {ratio:>5} {peak:>6} {end:>5}")
}

fn held(results: &Results, profile: &str, allocator: &str, case: &Case) -> String {
    let Some(summary) = results.summary(profile, allocator, case) else {
        return memory_row("-", "-", "-", "-");
    };
    let ratio = summary.held.zip(summary.reference).map(|(held, reference)| held / reference);
    memory_row(
        &format!("{:.1}", summary.time * 1e3),
        &or_dash(summary.held, mib),
        &or_dash(ratio, two_decimals),
        &or_dash(summary.end_rss, mib),
    )
}

fn memory_row(time: &str, held: &str, ratio: &str, end: &str) -> String {
    format!("{time:>7} {held:>6} {ratio:>6} {end:>6}")
}

fn or_dash(value: Option<f64>, format: fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), format)
}

fn two_decimals(value: f64) -> String {
    format!("{value:.2}")
}

fn mib(bytes: f64) -> String {
    format!("{:.1}", bytes / MIB)
}
