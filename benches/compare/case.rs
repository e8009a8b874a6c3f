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
                cases.push(Self::new(workload, None, false));
            }
        }
        cases
    }

    /// The name tells the number of threads if there are cases that differ by it.
    pub fn new(workload: &'static Workload, threads: Option<usize>, is_named: bool) -> Self {
        let name = match threads.filter(|_| is_named) {
            Some(threads) => format!("{} x{threads}", workload.name),
            None => workload.name.to_owned(),
        };
        Self { workload, threads, name }
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
        match self {
            &Self::Cores(cores) => vec![Case::new(workload, Some(cores), false)],
            Self::Chosen(counts) => {
                counts.iter().map(|&threads| Case::new(workload, Some(threads), true)).collect()
            }
        }
    }
}
