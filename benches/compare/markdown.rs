//! The results as tables in Markdown: a table for each profile and kind of workload.

use std::fmt::Write;

use crate::catalogue::{Kind, SUBJECT};
use crate::options::Options;
use crate::results::{Metric, Results, Summary};

const MIB: f64 = (1 << 20) as f64;

pub fn render(options: &Options, results: &Results, environment: &[String]) -> String {
    let mut text = format!("{}\n", environment.join("\n\n"));
    for profile in &options.profiles {
        for kind in Kind::ALL {
            if results.has_run(profile, &options.cases, kind) {
                let table = match kind {
                    Kind::Memory => held(options, results, profile),
                    _ => timed(options, results, profile, kind),
                };
                write!(text, "\n## Profile {profile}: {}\n\n{table}", kind.name())
                    .expect("writing to a String does not fail");
            }
        }
    }
    text
}

/// Time and peak memory of each peer divided by the subject's.
fn timed(options: &Options, results: &Results, profile: &str, kind: Kind) -> String {
    let baseline = results.baseline();
    let mut lines = vec![format!(
        "Each cell: median time divided by {baseline}'s, in brackets the fastest run by its fastest, \
         then the peak of resident memory divided by {baseline}'s. Above 1, {baseline} is ahead.\n"
    )];
    let peers: Vec<&str> = options
        .allocators
        .iter()
        .map(|entry| entry.name)
        .filter(|name| *name != baseline)
        .collect();
    lines.push(row("workload", baseline, peers.iter().map(|name| (*name).to_owned())));
    lines.push(row("---", "---", peers.iter().map(|_| "---".to_owned())));
    for case in options.cases.iter().filter(|case| case.kind() == kind) {
        // Not every case is run in every profile.
        let Some(own) = results.summary(profile, baseline, case) else { continue };
        let cell = |peer: &&str| compared(&results.summary(profile, peer, case)?, &own);
        let cells = peers.iter().map(|peer| cell(peer).unwrap_or_else(|| "-".to_owned()));
        lines.push(row(case.name(), &absolute(&own), cells));
    }
    let mean = |peer: &str| {
        let of = |metric| results.mean_ratio(metric, profile, peer, &options.cases, kind);
        let (time, peak) = (of(Metric::Time)?, of(Metric::PeakRss)?);
        Some(format!("**{time:.2}** · {peak:.2}"))
    };
    let means = peers.iter().map(|peer| mean(peer).unwrap_or_else(|| "-".to_owned()));
    lines.push(row("**geometric mean**", "", means));
    lines.join("\n") + "\n"
}

fn held(options: &Options, results: &Results, profile: &str) -> String {
    let mut lines = vec![format!(
        "Each cell: MiB resident at the moment of interest, in brackets divided by what the workload names, \
         then the median time of what came before, divided by {SUBJECT}'s: what is given back costs time.\n"
    )];
    let names = options.allocators.iter().map(|entry| entry.name.to_owned());
    lines.push(row("workload", SUBJECT, names.filter(|name| name != SUBJECT)));
    let rules = options.allocators.iter().skip(1).map(|_| "---".to_owned());
    lines.push(row("---", "---", rules));
    for case in options.cases.iter().filter(|case| case.kind() == Kind::Memory) {
        let own = results.summary(profile, SUBJECT, case);
        let cell = |name: &str| {
            let summary = results.summary(profile, name, case)?;
            let ratio = Metric::Held.of(&summary)?;
            let held = format!("{:.1} ({ratio:.2})", summary.held? / MIB);
            if name == SUBJECT {
                return Some(format!("{held} · {:.0} ms", summary.time * 1e3));
            }
            let time = summary.time / own.as_ref()?.time;
            Some(format!("{held} · {time:.2}"))
        };
        let mut cells = options
            .allocators
            .iter()
            .map(|entry| cell(entry.name).unwrap_or_else(|| "-".to_owned()));
        let first = cells.next().unwrap_or_default();
        lines.push(row(case.name(), &first, cells));
    }
    lines.join("\n") + "\n"
}

fn row(name: &str, first: &str, cells: impl Iterator<Item = String>) -> String {
    let mut line = format!("| {name} | {first} |");
    for cell in cells {
        write!(line, " {cell} |").expect("writing to a String does not fail");
    }
    line
}

fn absolute(summary: &Summary) -> String {
    let peak =
        summary.peak_rss.map_or_else(|| "-".to_owned(), |peak| format!("{:.1} MiB", peak / MIB));
    let spread = (summary.slowest - summary.fastest) / summary.time / 2.0 * 100.0;
    format!("{:.0} ms ±{spread:.0} % · {peak}", summary.time * 1e3)
}

fn compared(peer: &Summary, own: &Summary) -> Option<String> {
    let (time, fastest) = (peer.time / own.time, peer.fastest / own.fastest);
    let peak = peer.peak_rss? / own.peak_rss?;
    Some(format!("{time:.2} ({fastest:.2}) · {peak:.2}"))
}
