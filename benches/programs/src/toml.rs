//! Edits manifests as `cargo add` does: parses each to a document that keeps its format, changes versions
//! and dependencies, and writes it. One unit of scale is one pass over the manifests.

use std::time::Instant;

use toml_edit::{DocumentMut, InlineTable, Item, TomlError, Value, value};

use crate::Outcome;
use crate::digest;

pub fn run(manifests: &[String], passes: u32) -> Result<Outcome, String> {
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        for manifest in manifests {
            let edited = edit(manifest).map_err(|error| format!("a manifest: {error}"))?;
            checksum = checksum.wrapping_add(digest::of(&edited));
        }
    }
    Ok(Outcome { elapsed: start.elapsed(), checksum })
}

fn edit(manifest: &str) -> Result<String, TomlError> {
    let mut document: DocumentMut = manifest.parse()?;
    document["package"]["version"] = value("99.0.0-edited");
    if let Some(dependencies) = document.get_mut("dependencies").and_then(Item::as_table_like_mut) {
        for (_, dependency) in dependencies.iter_mut() {
            loosen(dependency);
        }
        let mut added = InlineTable::new();
        added.insert("version", "1.2".into());
        added.insert("default-features", false.into());
        added.insert("features", ["std", "derive"].into_iter().collect::<Value>());
        dependencies.insert("added", value(added));
    }
    Ok(document.to_string())
}

/// Any version from the one that was asked for.
fn loosen(dependency: &mut Item) {
    if let Some(table) = dependency.as_table_like_mut()
        && let Some(version) = table.get("version").and_then(Item::as_str)
    {
        let loose = format!(">={}", version.trim_start_matches(['^', '=', '~', '>', ' ']));
        table.insert("version", value(loose));
        table.remove("default-features");
    }
}
