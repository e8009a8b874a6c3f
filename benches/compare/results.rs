//! All runs, and what follows from them.

use crate::case::Case;
use crate::catalogue::{ALLOCATORS, Kind, SUBJECT};
use crate::runner::Report;

pub struct Sample {
    pub round: u32,
    pub workload: &'static str,
    pub threads: Option<usize>,
    pub allocator: &'static str,
    pub profile: &'static str,
    pub report: Report,
}

impl Sample {
    /// What is repeated by rounds, and under each allocator.
    pub fn case(&self) -> (&'static str, &'static str, Option<usize>) {
        (self.profile, self.workload, self.threads)
    }

    fn is_of(&self, case: &Case) -> bool {
        self.workload == case.workload.name && self.threads == case.threads
    }
}

/// The runs of one case under one allocator in one profile; times in seconds, memory in bytes.
pub struct Summary {
    pub time: f64,
    pub fastest: f64,
    pub slowest: f64,
    pub peak_rss: Option<f64>,
    pub end_rss: Option<f64>,
    pub held: Option<f64>,
    pub reference: Option<f64>,
}

/// A quantity of which less is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    Time,
    PeakRss,
    /// What is held, of the reference that the workload names.
    Held,
}

impl Metric {
    pub fn of(self, summary: &Summary) -> Option<f64> {
        match self {
            Self::Time => Some(summary.time),
            Self::PeakRss => summary.peak_rss,
            Self::Held => Some(summary.held? / summary.reference?),
        }
    }
}

#[derive(Default)]
pub struct Results {
    samples: Vec<Sample>,
}

impl Results {
    pub fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    pub fn into_samples(self) -> Vec<Sample> {
        self.samples
    }

    pub fn retain(&mut self, stays: impl FnMut(&Sample) -> bool) {
        self.samples.retain(stays);
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Whether a case of the kind was run in a profile.
    pub fn has_run(&self, profile: &str, cases: &[Case], kind: Kind) -> bool {
        let cases: Vec<&Case> = cases.iter().filter(|case| case.kind() == kind).collect();
        let is_of = |sample: &Sample| cases.iter().any(|case| sample.is_of(case));
        self.samples.iter().any(|sample| sample.profile == profile && is_of(sample))
    }

    /// The allocator that ratios relate to: the subject, unless it was not run.
    pub fn baseline(&self) -> &'static str {
        let has_run = |allocator| self.samples.iter().any(|sample| sample.allocator == allocator);
        let mut names = ALLOCATORS.iter().map(|allocator| allocator.name);
        names.find(|name| has_run(*name)).unwrap_or(SUBJECT)
    }

    /// The checksum that the first run of a case gave, and under which allocator and profile.
    pub fn checksum(&self, case: &Case) -> Option<(u64, &'static str, &'static str)> {
        let mut samples = self.samples.iter();
        let first = samples.find(|sample| sample.is_of(case))?;
        Some((first.report.checksum, first.allocator, first.profile))
    }

    pub fn summary(&self, profile: &str, allocator: &str, case: &Case) -> Option<Summary> {
        let reports: Vec<&Report> = self
            .samples
            .iter()
            .filter(|sample| {
                sample.profile == profile && sample.allocator == allocator && sample.is_of(case)
            })
            .map(|sample| &sample.report)
            .collect();
        let times = sorted(reports.iter().map(|report| report.elapsed_ns as f64 / 1e9));
        Some(Summary {
            time: median(&times)?,
            fastest: *times.first()?,
            slowest: *times.last()?,
            peak_rss: median_bytes(reports.iter().map(|report| report.peak_rss)),
            end_rss: median_bytes(reports.iter().map(|report| report.end_rss)),
            held: median_bytes(reports.iter().map(|report| report.held)),
            reference: median_bytes(reports.iter().map(|report| report.reference)),
        })
    }

    /// How many times as much an allocator needs as the baseline does; of what is held, it is compared to
    /// the reference already.
    pub fn ratio(
        &self,
        metric: Metric,
        profile: &str,
        allocator: &str,
        case: &Case,
    ) -> Option<f64> {
        let of = |allocator| metric.of(&self.summary(profile, allocator, case)?);
        let baseline = if metric == Metric::Held { 1.0 } else { of(self.baseline())? };
        Some(of(allocator)? / baseline)
    }

    /// The geometric mean of the ratios over the cases of a kind that the baseline has run in a profile;
    /// `None` if one of them is missing.
    pub fn mean_ratio(
        &self,
        metric: Metric,
        profile: &str,
        allocator: &str,
        cases: &[Case],
        kind: Kind,
    ) -> Option<f64> {
        let ratios: Vec<f64> = cases
            .iter()
            .filter(|case| case.kind() == kind)
            .filter(|case| self.summary(profile, self.baseline(), case).is_some())
            .map(|case| self.ratio(metric, profile, allocator, case))
            .collect::<Option<_>>()?;
        geometric_mean(ratios.into_iter().map(Some))
    }
}

/// `None` if there are no values, or one is missing.
pub fn geometric_mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let logarithms: Vec<f64> = values.map(|value| value.map(f64::ln)).collect::<Option<_>>()?;
    let sum: f64 = logarithms.iter().sum();
    (!logarithms.is_empty()).then(|| (sum / logarithms.len() as f64).exp())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + upper) / 2.0 } else { upper })
}

fn median_bytes(values: impl Iterator<Item = Option<u64>>) -> Option<f64> {
    median(&sorted(values.flatten().map(|bytes| bytes as f64)))
}
