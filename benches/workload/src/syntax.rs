//! Parses Rust sources to syntax trees, and holds the trees until all is parsed, as a tool that looks at a
//! whole workspace does. One unit of scale is one pass over the sources.

use std::path::Path;
use std::time::Instant;

use crate::harness::Measurement;
use crate::sources;

pub fn run(list: &Path, passes: u32) -> Result<Measurement, String> {
    let mut texts = sources::read(list)?;
    texts.retain(|text| syn::parse_file(text).is_ok());
    let start = Instant::now();
    let mut items = 0;
    for _ in 0..passes {
        items += count_items(&texts)?;
    }
    Ok(Measurement { elapsed: start.elapsed(), operations: None, checksum: items, held: None })
}

fn count_items(texts: &[String]) -> Result<u64, String> {
    let trees: Vec<syn::File> = texts
        .iter()
        .map(|text| syn::parse_file(text))
        .collect::<syn::Result<_>>()
        .map_err(|error| format!("a file that parsed before no longer does: {error}"))?;
    Ok(trees.iter().map(|tree| tree.items.len() as u64).sum())
}
