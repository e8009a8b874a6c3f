//! What a thread does while it waits for another one.
//!
//! What it waits for takes a microsecond or less, unless the other was interrupted. So it looks again for a while,
//! then yields: the other may wait for this very core. Not from the first moment on, since where other processes
//! want the core, a yield gives it to them for a slice of milliseconds; and not for ever, since a thread with a
//! real-time priority yields to none of a lower one, and would keep the other from its core for good. Then it
//! sleeps, which the `Backoff` of `crossbeam_utils` never does.

use core::hint;
use core::time::Duration;

use crate::os;

/// About 3 us on a Zen 4, four times as long where a processor pauses for longer. `--cfg obmalloc_yield_at_once` makes
/// each wait a yield, for others to count.
const LOOKS: u32 = if cfg!(obmalloc_yield_at_once) { 0 } else { 256 };

/// So many that a thread which only has to share its core hardly ever sleeps: that would take longer.
const YIELDS: u32 = 128;

/// Shorter than what a program notices, longer than what it takes to fall asleep.
const SLEEP: Duration = Duration::from_micros(50);

#[derive(Debug, PartialEq, Eq)]
enum Step {
    LookAgain,
    Yield,
    Sleep,
}

/// How long a thread has waited.
pub(crate) struct Backoff {
    steps: u32,
}

impl Backoff {
    /// It has not yet.
    pub(crate) const fn new() -> Self {
        Self { steps: 0 }
    }

    fn next_step(&mut self) -> Step {
        if self.steps == LOOKS + YIELDS {
            return Step::Sleep;
        }
        self.steps += 1;
        if self.steps <= LOOKS { Step::LookAgain } else { Step::Yield }
    }

    /// Waits for a moment, after which the caller is to look if the wait is over.
    pub(crate) fn wait(&mut self) {
        // The threads of a model take turns, and this one's is over.
        #[cfg(all(test, loom))]
        return loom::thread::yield_now();
        #[cfg(not(all(test, loom)))]
        match self.next_step() {
            Step::LookAgain => hint::spin_loop(),
            Step::Yield => os::yield_now(),
            Step::Sleep => os::sleep(SLEEP),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_first_then_yields_and_at_last_sleeps_as_long_as_it_takes() {
        let mut backoff = Backoff::new();
        for _ in 0..LOOKS {
            assert_eq!(backoff.next_step(), Step::LookAgain);
        }
        for _ in 0..YIELDS {
            assert_eq!(backoff.next_step(), Step::Yield);
        }
        for _ in 0..1000 {
            assert_eq!(backoff.next_step(), Step::Sleep);
        }
    }
}
