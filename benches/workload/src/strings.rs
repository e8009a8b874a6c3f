//! A hashed map of texts, as a program that reads settings, headers or columns builds it: keys are
//! formatted, looked up and inserted where they are new; values are replaced by longer ones; then all is
//! dropped. One unit of scale is one such map.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Instant;

use crate::harness::Measurement;
use crate::random::Random;

const KEYS: usize = 10_000;
const LOOKUPS: usize = 4 * KEYS;
const REPLACEMENTS: usize = 2 * KEYS;

/// The standard hash function, but with the same keys in every run.
type Map = HashMap<String, String, BuildHasherDefault<DefaultHasher>>;

pub fn run(maps: u32) -> Measurement {
    let mut random = Random::new(0);
    let start = Instant::now();
    let checksum = (0..maps).map(|_| build_and_drop(&mut random)).fold(0, u64::wrapping_add);
    let operations = u64::from(maps) * (LOOKUPS + REPLACEMENTS) as u64;
    Measurement { elapsed: start.elapsed(), operations: Some(operations), checksum, held: None }
}

/// The bytes of all keys and values in the end.
fn build_and_drop(random: &mut Random) -> u64 {
    let mut map = Map::default();
    for _ in 0..LOOKUPS {
        let key = random_key(random);
        map.entry(key).or_insert_with(|| "unset".to_owned());
    }
    for round in 0..REPLACEMENTS {
        let key = random_key(random);
        if let Some(value) = map.get_mut(&key) {
            *value = format!("{value}, and {round} for {key}");
        }
    }
    map.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
}

fn random_key(random: &mut Random) -> String {
    let number = random.below(KEYS);
    format!("section-{}/key-{number}", number % 100)
}
