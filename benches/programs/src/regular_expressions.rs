//! Compiles the regular expressions that programs validate, tokenise and scan logs with, tries each on a
//! few lines, holds them all as a table of rules does, and drops them. One unit of scale is one pass over
//! the patterns.

use std::time::Instant;

use regex::Regex;

use crate::Outcome;
use crate::patterns::{LINES, PATTERNS};

pub fn run(passes: u32) -> Result<Outcome, String> {
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        checksum = checksum.wrapping_add(compile_and_match()?);
    }
    Ok(Outcome { elapsed: start.elapsed(), checksum })
}

/// The lengths of all captures, and how many groups the patterns have.
fn compile_and_match() -> Result<u64, String> {
    let rules: Vec<Regex> = PATTERNS
        .iter()
        .map(|pattern| Regex::new(pattern))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("a pattern is malformed: {error}"))?;
    let groups: usize = rules.iter().map(Regex::captures_len).sum();
    let captured: usize =
        rules.iter().flat_map(|rule| LINES.map(|line| captured_bytes(rule, line))).sum();
    Ok((groups + captured) as u64)
}

fn captured_bytes(rule: &Regex, line: &str) -> usize {
    let captures = rule.captures(line);
    captures.iter().flat_map(|captures| captures.iter().flatten()).map(|group| group.len()).sum()
}
