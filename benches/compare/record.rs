//! Results as a file: what they were measured on and with, and every run, one a line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::case::Case;
use crate::catalogue::{ALLOCATORS, PROFILES, WORKLOADS};
use crate::options::Options;
use crate::results::{Results, Sample};
use crate::runner::Report;

const REMARK: &str = "# ";
const HEADER: &str = "round,profile,allocator,workload,threads,elapsed_ns,operations,checksum,\
                      peak_rss_bytes,end_rss_bytes,held_bytes,reference_bytes";

pub struct Record {
    pub environment: Vec<String>,
    pub results: Results,
}

impl Record {
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub fn to_text(&self) -> String {
        let remarks = self.environment.iter().map(|line| format!("{REMARK}{line}\n"));
        let lines = self.results.samples().iter().map(line_of);
        remarks.chain([format!("{HEADER}\n")]).chain(lines).collect()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut record = Self { environment: Vec::new(), results: Results::default() };
        for line in text.lines() {
            if let Some(remark) = line.strip_prefix(REMARK) {
                record.environment.push(remark.to_owned());
            } else if line != HEADER {
                let sample = sample_of(line).ok_or_else(|| format!("unexpected line {line:?}"))?;
                record.results.add(sample);
            }
        }
        if record.results.is_empty() {
            return Err("there are no runs in it".to_owned());
        }
        Ok(record)
    }

    /// With what the record in a file has of other cases, if there is one: runs of one day on one machine
    /// make one record, also where they were asked for in parts.
    pub fn added_to(self, path: &Path) -> Result<Self, String> {
        if !path.exists() {
            return Ok(self);
        }
        let mut record = Self::read(path)?;
        record.environment.extend(self.environment);
        let mut known = BTreeSet::new();
        record.environment.retain(|line| known.insert(line.clone()));
        let samples = self.results.into_samples();
        let renewed: BTreeSet<_> = samples.iter().map(Sample::case).collect();
        record.results.retain(|sample| !renewed.contains(&sample.case()));
        samples.into_iter().for_each(|sample| record.results.add(sample));
        Ok(record)
    }

    /// A case may have been run again with more.
    fn fewest_rounds(&self) -> u32 {
        let mut rounds = BTreeMap::new();
        for sample in self.results.samples() {
            let most = rounds.entry(sample.case()).or_insert(0);
            *most = sample.round.max(*most);
        }
        rounds.into_values().min().unwrap_or_default()
    }

    /// What was asked for when these runs were made, as far as they show.
    pub fn options(&self) -> Options {
        let samples = self.results.samples();
        let has = |is_of: &dyn Fn(&Sample) -> bool| samples.iter().any(is_of);
        let cases = WORKLOADS.iter().flat_map(|workload| {
            let of_workload = samples.iter().filter(|sample| sample.workload == workload.name);
            let threads: BTreeSet<_> = of_workload.map(|sample| sample.threads).collect();
            let is_named = threads.len() > 1;
            threads.into_iter().map(move |threads| Case::new(workload, threads, is_named))
        });
        Options {
            quick: false,
            simulates: false,
            rounds: self.fewest_rounds(),
            cases: cases.collect(),
            allocators: ALLOCATORS
                .iter()
                .filter(|allocator| has(&|sample| sample.allocator == allocator.name))
                .collect(),
            profiles: PROFILES
                .into_iter()
                .filter(|profile| has(&|sample| sample.profile == *profile))
                .collect(),
            machine: None,
        }
    }
}

fn line_of(sample: &Sample) -> String {
    let Sample { round, workload, threads, allocator, profile, report } = sample;
    let numbers = [
        threads.map(|threads| threads as u64),
        Some(report.elapsed_ns),
        report.operations,
        Some(report.checksum),
        report.peak_rss,
        report.end_rss,
        report.held,
        report.reference,
    ];
    let mut line = format!("{round},{profile},{allocator},{workload}");
    for number in numbers {
        let number = number.map(|number| number.to_string()).unwrap_or_default();
        write!(line, ",{number}").expect("writing to a String does not fail");
    }
    line.push('\n');
    line
}

/// `None` if it is no such line, or names what the catalogue does not have.
fn sample_of(line: &str) -> Option<Sample> {
    let mut fields = line.split(',');
    let round = fields.next()?.parse().ok()?;
    let (profile, allocator, workload) = (fields.next()?, fields.next()?, fields.next()?);
    let mut numbers = Vec::new();
    for field in fields {
        numbers.push(if field.is_empty() { None } else { Some(field.parse::<u64>().ok()?) });
    }
    let [threads, elapsed_ns, operations, checksum, peak_rss, end_rss, held, reference] =
        numbers.try_into().ok()?;
    Some(Sample {
        round,
        workload: WORKLOADS.iter().map(|entry| entry.name).find(|name| *name == workload)?,
        threads: threads.map(|threads| threads as usize),
        allocator: ALLOCATORS.iter().map(|entry| entry.name).find(|name| *name == allocator)?,
        profile: PROFILES.into_iter().find(|name| *name == profile)?,
        report: Report {
            elapsed_ns: elapsed_ns?,
            operations,
            checksum: checksum?,
            peak_rss,
            end_rss,
            held,
            reference,
        },
    })
}
