//! Runs the same work on several threads at once.

use std::thread;

/// Starts the threads together, waits for all, and adds up what they return. The work is told which thread
/// does it, for a stream of random numbers of its own.
pub fn sum(threads: usize, work: impl Fn(usize) -> u64 + Sync) -> u64 {
    sum_each((0..threads).collect(), work)
}

/// The same where each thread is given something of its own.
pub fn sum_each<T: Send>(given: Vec<T>, work: impl Fn(T) -> u64 + Sync) -> u64 {
    let work = &work;
    thread::scope(|scope| {
        let workers: Vec<_> =
            given.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker does not panic"))
            .fold(0, u64::wrapping_add)
    })
}
