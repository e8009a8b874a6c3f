//! A workload together with the number of threads that it is to keep busy: what is run, and a row of what
//! is shown.

use crate::catalogue::{Kind, Workload};

pub struct Case {
    pub workload: &'static Workload,
    /// None where a workload has a number of threads of its own.
    pub threads: Option<usize>,
    name: String,
}

impl Case {
    /// Each workload, if it is threaded once for each number of threads.
    pub fn all(workloads: &[&'static Workload], thread_counts: &ThreadCounts) -> Vec<Self> {
        let mut cases = Vec::new();
        for &workload in workloads {
            if workload.is_threaded {
                cases.extend(thread_counts.cases_of(workload));
            } else {
                let name = workload.name.to_owned();
                cases.push(Self { workload, threads: None, name });
            }
        }
        cases
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> Kind {
        self.workload.kind
    }
}

pub enum ThreadCounts {
    /// One thread for each of so many cores.
    Cores(usize),
    /// Those that were asked for, which rows then name.
    Chosen(Vec<usize>),
}

impl ThreadCounts {
    fn cases_of(&self, workload: &'static Workload) -> Vec<Case> {
        let case = |threads, name| Case { workload, threads: Some(threads), name };
        match self {
            &Self::Cores(cores) => vec![case(cores, workload.name.to_owned())],
            Self::Chosen(counts) => counts
                .iter()
                .map(|&threads| case(threads, format!("{} x{threads}", workload.name)))
                .collect(),
        }
    }
}
