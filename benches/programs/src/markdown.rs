//! Renders Markdown files to HTML by way of a syntax tree. One unit of scale is one pass over the files.

use std::time::Instant;

use comrak::Options;

use crate::Outcome;
use crate::digest;

pub fn run(texts: &[String], passes: u32) -> Outcome {
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        for text in texts {
            checksum = checksum.wrapping_add(digest::of(&render(text)));
        }
    }
    Outcome { elapsed: start.elapsed(), checksum }
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
