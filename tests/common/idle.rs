//! A program that does next to nothing, and what it has left of what it had before.

use std::hint::black_box;
use std::thread::sleep;
use std::time::Duration;

use crate::rss;

/// Bytes that are resident beyond `before`, once they are fewer than `enough`, or after some seconds in which
/// the program has done a little.
pub fn left_after_a_while(before: usize, enough: usize) -> usize {
    let left = || rss::resident_bytes().saturating_sub(before);
    for _ in 0..500 {
        // A little more than a magazine, so that the heap is asked.
        drop((0..2000).map(|number| black_box(Box::new(number))).collect::<Vec<Box<usize>>>());
        if left() < enough {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    left()
}
