//! Binary trees, in the shape of the Computer Language Benchmarks Game: one long-lived tree, and many
//! short-lived ones of growing depth. One unit of scale is one game on each thread; the threads do not
//! share anything.

use std::time::Instant;

use crate::harness::Measurement;
use crate::parallel;

const MIN_DEPTH: u32 = 4;
const MAX_DEPTH: u32 = 15;

struct Tree {
    children: Option<(Box<Tree>, Box<Tree>)>,
}

impl Tree {
    fn new(depth: u32) -> Box<Self> {
        let children = depth.checked_sub(1).map(|below| (Self::new(below), Self::new(below)));
        Box::new(Self { children })
    }

    fn count(&self) -> u64 {
        1 + self.children.as_ref().map_or(0, |(left, right)| left.count() + right.count())
    }
}

pub fn run(threads: usize, games: u32) -> Measurement {
    let start = Instant::now();
    let nodes = if threads == 1 { play(games) } else { parallel::sum(threads, |_| play(games)) };
    Measurement { elapsed: start.elapsed(), operations: Some(nodes), checksum: nodes, held: None }
}

/// The number of nodes that were allocated, counted by walking the trees.
fn play(games: u32) -> u64 {
    (0..games).map(|_| play_once()).sum()
}

fn play_once() -> u64 {
    let stretch = Tree::new(MAX_DEPTH + 1).count();
    let long_lived = Tree::new(MAX_DEPTH);
    let mut short_lived = 0;
    for depth in (MIN_DEPTH..=MAX_DEPTH).step_by(2) {
        let trees = 1 << (MAX_DEPTH - depth + MIN_DEPTH);
        short_lived += (0..trees).map(|_| Tree::new(depth).count()).sum::<u64>();
    }
    stretch + short_lived + long_lived.count()
}
