//! An ordered map of texts in constant change: random keys are removed where they are present and inserted
//! where they are not, so that about half of all possible keys are there, and nodes of the tree are split
//! and merged all the time. One unit of scale is a hundred thousand changes.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::harness::Measurement;
use crate::random::Random;

const CHANGES: u64 = 100_000;
const KEYS: usize = 100_000;

pub fn run(scale: u32) -> Measurement {
    let changes = u64::from(scale) * CHANGES;
    let mut random = Random::new(0);
    let mut map = BTreeMap::new();
    let start = Instant::now();
    for _ in 0..changes {
        change(&mut map, &mut random);
    }
    let checksum = map.iter().map(|(key, text)| key * text.len() as u64).sum();
    drop(map);
    Measurement { elapsed: start.elapsed(), operations: Some(changes), checksum, held: None }
}

fn change(map: &mut BTreeMap<u64, String>, random: &mut Random) {
    let key = random.below(KEYS) as u64;
    if map.remove(&key).is_none() {
        map.insert(key, "x".repeat(random.within(8..=64)));
    }
}
