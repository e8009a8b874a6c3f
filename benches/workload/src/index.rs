//! Builds an index of the words of all sources, once ordered and once hashed, and drops it. One unit of
//! scale is one pass over the sources.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::path::Path;
use std::time::Instant;

use crate::harness::Measurement;
use crate::sources;

/// The standard hash function, but with the same keys in every run.
type FixedHasher = BuildHasherDefault<DefaultHasher>;

pub fn run(list: &Path, passes: u32) -> Result<Measurement, String> {
    let texts = sources::read(list)?;
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        checksum = checksum.wrapping_add(ordered(&texts)).wrapping_add(hashed(&texts));
    }
    Ok(Measurement { elapsed: start.elapsed(), operations: None, checksum, held: None })
}

fn ordered(texts: &[String]) -> u64 {
    let mut index = BTreeMap::<String, Vec<u32>>::new();
    for (position, word) in words(texts) {
        index.entry(word.to_owned()).or_default().push(position);
    }
    index.iter().map(|(word, positions)| digest(word, positions)).fold(0, u64::wrapping_add)
}

fn hashed(texts: &[String]) -> u64 {
    let mut index = HashMap::<String, Vec<u32>, FixedHasher>::default();
    for (position, word) in words(texts) {
        index.entry(word.to_owned()).or_default().push(position);
    }
    index.iter().map(|(word, positions)| digest(word, positions)).fold(0, u64::wrapping_add)
}

/// All words, numbered from the start of the first text.
fn words(texts: &[String]) -> impl Iterator<Item = (u32, &str)> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let words = texts.iter().flat_map(move |text| text.split(move |character| !is_word(character)));
    (0..).zip(words.filter(|word| !word.is_empty()))
}

fn digest(word: &str, positions: &[u32]) -> u64 {
    let last = positions.last().copied().unwrap_or_default();
    (word.len() * positions.len()) as u64 + u64::from(last)
}
