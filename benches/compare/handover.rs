//! How long a cache line takes from one core to another and back: on a virtual machine that may change by a factor of
//! four within minutes, as its host moves its cores, and with it whatever has several threads.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use crate::machine;

/// Batches of round trips, the fastest of which counts: in the first ones both threads may still be on one core.
const BATCHES: u32 = 20;
const TRIPS_PER_BATCH: u32 = 2_000;

/// Measured times, in nanoseconds.
#[derive(Default)]
pub struct Handovers(Vec<u64>);

impl Handovers {
    /// Measures once more, in some milliseconds; not where there is one core.
    pub fn measure(&mut self) {
        if machine::cores() > 1 {
            self.0.push(round_trip_ns());
        }
    }

    /// One line about all of them.
    pub fn describe(mut self) -> Option<String> {
        self.0.sort_unstable();
        let (least, median, most) = (self.0.first()?, self.0[self.0.len() / 2], self.0.last()?);
        Some(format!(
            "a cache line from one core to another and back, before each case: {least} to {most} ns, median {median}"
        ))
    }
}

fn round_trip_ns() -> u64 {
    // Odd where the other thread is to answer.
    let turn = AtomicU32::new(0);
    // Sequential consistency costs nothing that matters here. A pause between two looks would be what is measured.
    #[allow(clippy::missing_spin_loop)]
    let wait_for = |value| while turn.load(Ordering::SeqCst) != value {};
    thread::scope(|scope| {
        scope.spawn(|| {
            for trip in 0..BATCHES * TRIPS_PER_BATCH {
                wait_for(2 * trip + 1);
                turn.store(2 * trip + 2, Ordering::SeqCst);
            }
        });
        let times = (0..BATCHES).map(|batch| {
            let start = Instant::now();
            let first = batch * TRIPS_PER_BATCH;
            for trip in first..first + TRIPS_PER_BATCH {
                turn.store(2 * trip + 1, Ordering::SeqCst);
                wait_for(2 * trip + 2);
            }
            start.elapsed().as_nanos() as u64 / u64::from(TRIPS_PER_BATCH)
        });
        times.min().unwrap_or_default()
    })
}
