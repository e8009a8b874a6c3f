//! Renders Markdown files to HTML by way of a syntax tree. One unit of scale is one pass over the files.

use std::path::Path;
use std::time::Instant;

use comrak::Options;

use crate::harness::Measurement;
use crate::{digest, sources};

pub fn run(list: &Path, passes: u32) -> Result<Measurement, String> {
    let texts = sources::read(list)?;
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        for text in &texts {
            checksum = checksum.wrapping_add(digest::of(&render(text)));
        }
    }
    Ok(Measurement { elapsed: start.elapsed(), operations: None, checksum, held: None })
}

/// With the extensions that a code host has.
pub fn render(text: &str) -> String {
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.autolink = true;
    options.extension.tasklist = true;
    options.extension.footnotes = true;
    options.render.r#unsafe = true;
    comrak::markdown_to_html(text, &options)
}
