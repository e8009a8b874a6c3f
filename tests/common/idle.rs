//! A program that does next to nothing, and what it has left of what it had before.

use std::hint::black_box;
use std::thread::sleep;
use std::time::Duration;

use crate::rss;

/// Does a little until it is enough, or for some seconds.
pub fn do_a_little_until(is_enough: impl Fn() -> bool) {
    for _ in 0..500 {
        // A little more than a magazine, so that the heap is asked.
        drop((0..2000).map(|number| black_box(Box::new(number))).collect::<Vec<Box<usize>>>());
        if is_enough() {
            break;
        }
        sleep(Duration::from_millis(10));
    }
}

/// Bytes that are resident beyond `before`, once they are fewer than `enough`, or after some seconds in which
/// the program has done a little.
pub fn left_after_a_while(before: usize, enough: usize) -> usize {
    let left = || rss::resident_bytes().saturating_sub(before);
    do_a_little_until(|| left() < enough);
    left()
}
