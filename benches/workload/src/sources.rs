//! The Rust sources that `syn` and `index` work on.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// The texts of the files that `list` names: a JSON array of paths.
pub fn read(list: &Path) -> Result<Vec<String>, String> {
    let text = read_text(list)?;
    let paths: Value = serde_json::from_str(&text)
        .map_err(|error| format!("{} is not JSON: {error}", list.display()))?;
    let malformed = || format!("{} is not an array of paths", list.display());
    paths
        .as_array()
        .ok_or_else(malformed)?
        .iter()
        .map(|path| read_text(Path::new(path.as_str().ok_or_else(malformed)?)))
        .collect()
}

pub fn read_text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
