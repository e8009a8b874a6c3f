//! Reads a JSON document to a tree, clones the tree and writes the clone. One unit of scale is one pass.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::harness::Measurement;
use crate::sources;

pub fn run(document: &Path, passes: u32) -> Result<Measurement, String> {
    let text = sources::read_text(document)?;
    let start = Instant::now();
    let mut written = String::new();
    for _ in 0..passes {
        written = rewrite(&text)
            .map_err(|error| format!("{} is not JSON: {error}", document.display()))?;
    }
    let elapsed = start.elapsed();
    let mut hasher = DefaultHasher::new();
    written.hash(&mut hasher);
    Ok(Measurement { elapsed, operations: None, checksum: hasher.finish(), held: None })
}

fn rewrite(text: &str) -> serde_json::Result<String> {
    let original: Value = serde_json::from_str(text)?;
    let copy = original.clone();
    drop(original);
    serde_json::to_string(&copy)
}
