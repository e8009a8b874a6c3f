//! A large hashed map of texts to bytes, as a cache or an index in memory is: filled, half as many values replaced
//! as there are keys, halved, filled up again, and dropped, in memory that the process has not had before. What is taken
//! away lies where the hashes say, in no order, and most of it has been out of all caches for long. One unit of scale is a
//! hundred thousand keys.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::RangeInclusive;
use std::time::Instant;

use crate::harness::Measurement;
use crate::random::Random;

const KEYS_PER_UNIT: usize = 100_000;
const VALUE_SIZES: RangeInclusive<usize> = 16..=300;

/// The standard hash function, but with the same keys in every run.
type Map = HashMap<String, Vec<u8>, BuildHasherDefault<DefaultHasher>>;

pub fn run(scale: u32) -> Measurement {
    let mut random = Random::new(0);
    let keys = scale as usize * KEYS_PER_UNIT;
    let start = Instant::now();
    let mut map = Map::default();
    for key in 0..keys {
        map.insert(format!("key:{key}"), new_value(&mut random));
    }
    for _ in 0..keys / 2 {
        let key = random.below(keys);
        map.insert(format!("key:{key}"), new_value(&mut random));
    }
    map.retain(|_, value| value.len().is_multiple_of(2));
    for key in 0..keys / 2 {
        map.insert(format!("new:{key}"), new_value(&mut random));
    }
    let checksum = map.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    drop(map);
    let operations = Some(2 * keys as u64);
    Measurement { elapsed: start.elapsed(), operations, checksum, held: None }
}

fn new_value(random: &mut Random) -> Vec<u8> {
    vec![1; random.within(VALUE_SIZES)]
}
