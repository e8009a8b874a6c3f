//! Cases, and the suite that measures them under every allocator.

use std::alloc::GlobalAlloc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};

use crate::outlined::Outlined;
use crate::peers::{self, Visitor};

/// One thing that a program does with its allocator, again and again.
pub trait Case {
    /// What there is between two rounds.
    type Held;

    /// Its name, unique in its suite.
    fn name(&self) -> String;

    /// Blocks that a round allocates, if it is more than one. All cases of a suite say it, or none.
    fn blocks_per_round(&self) -> Option<u64> {
        None
    }

    /// What the first round starts with; is not timed.
    fn prepare(&self, allocator: &impl GlobalAlloc) -> Self::Held;

    /// What is timed. Always inlined, so that there is no call but those of the allocator.
    ///
    /// # Safety
    ///
    /// `held` must have been prepared with the same allocator.
    unsafe fn round(&self, allocator: &impl GlobalAlloc, held: &mut Self::Held);

    /// Gives back what the last round left; is not timed.
    ///
    /// # Safety
    ///
    /// `held` must have been prepared with the same allocator.
    unsafe fn finish(&self, allocator: &impl GlobalAlloc, held: Self::Held);
}

/// How the blocks come from an allocator.
#[derive(Clone, Copy)]
enum Boundary {
    /// Through functions that are not inlined, as without link-time optimisation.
    Outlined,
    /// Inlined into the loop as far as the allocator can be, as with it.
    Inlined,
}

/// The cases that answer one question.
pub struct Suite<'a>(BenchmarkGroup<'a, WallTime>);

impl<'a> Suite<'a> {
    /// An empty suite; says first which allocators it measures.
    pub fn new(criterion: &'a mut Criterion, name: &str) -> Self {
        peers::report();
        Self(criterion.benchmark_group(name))
    }

    /// Measures one case under one allocator after the other.
    pub fn measure(&mut self, case: &impl Case) -> &mut Self {
        if let Some(blocks) = case.blocks_per_round() {
            self.0.throughput(Throughput::Elements(blocks));
        }
        for boundary in [Boundary::Outlined, Boundary::Inlined] {
            peers::visit_all(&mut Measurement { group: &mut self.0, case, boundary });
        }
        self
    }
}

struct Measurement<'a, 'b, C> {
    group: &'a mut BenchmarkGroup<'b, WallTime>,
    case: &'a C,
    boundary: Boundary,
}

impl<C: Case> Measurement<'_, '_, C> {
    fn measure(&mut self, name: &str, boundary: &str, allocator: &impl GlobalAlloc) {
        let case = self.case;
        // Prepared when it is first needed: cases that a filter leaves out cost nothing.
        let mut held = None;
        self.group.bench_function(format!("{}/{boundary}/{name}", case.name()), |bencher| {
            let held = held.get_or_insert_with(|| case.prepare(allocator));
            // SAFETY: it was prepared with this allocator.
            bencher.iter(|| unsafe { case.round(allocator, held) });
        });
        if let Some(held) = held {
            // SAFETY: it was prepared with this allocator.
            unsafe { case.finish(allocator, held) }
        }
    }
}

impl<C: Case> Visitor for Measurement<'_, '_, C> {
    fn visit<A: GlobalAlloc>(&mut self, name: &str, allocator: A) {
        match self.boundary {
            Boundary::Outlined => self.measure(name, "outlined", &Outlined::new(allocator)),
            Boundary::Inlined => self.measure(name, "inlined", &allocator),
        }
    }
}

/// Measurements of `seconds` each, after a third of that to warm up.
#[must_use]
pub fn short_rounds(seconds: f64, samples: usize) -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs_f64(seconds / 3.0))
        .measurement_time(Duration::from_secs_f64(seconds))
        .sample_size(samples)
        .nresamples(10_000)
        .without_plots()
}
