//! A linked list of nodes of 32 bytes is built and dropped, a number of times: an allocator that returns
//! all memory at once pays for it again in the next round, one that returns none holds it ever after.
//!
//! - [`short`]: the list has 100,000 nodes. One unit of scale is ten rounds.
//! - [`long`]: what is held is read once the last list is dropped; the reference is the bytes of one list.
//!   One unit of scale is a thousand nodes.

use std::time::Instant;

use crate::harness::Measurement;
use crate::memory::Before;

struct Node {
    values: [u64; 3],
    next: Option<Box<Node>>,
}

const _: () = assert!(size_of::<Node>() == 32);

pub fn short(tens_of_rounds: u32) -> Measurement {
    run(10 * tens_of_rounds, 100_000)
}

pub fn long(rounds: u32, thousands: u32) -> Measurement {
    let nodes = u64::from(thousands) * 1_000;
    let before = Before::now();
    let measurement = run(rounds, nodes);
    let held = before.held(nodes * size_of::<Node>() as u64);
    Measurement { held, ..measurement }
}

fn run(rounds: u32, nodes: u64) -> Measurement {
    let start = Instant::now();
    let checksum = (0..rounds).map(|_| drop_all(build(nodes))).fold(0, u64::wrapping_add);
    let operations = Some(u64::from(rounds) * nodes);
    Measurement { elapsed: start.elapsed(), operations, checksum, held: None }
}

fn build(nodes: u64) -> Option<Box<Node>> {
    (0..nodes).fold(None, |next, value| Some(Box::new(Node { values: [value; 3], next })))
}

/// Node by node, since the drop of a list calls itself and would need a stack as long as the list.
fn drop_all(mut list: Option<Box<Node>>) -> u64 {
    let mut sum = 0;
    while let Some(node) = list {
        sum += node.values[2];
        list = node.next;
    }
    sum
}
