//! What the numbers were measured on, and with.

use std::fs;
use std::process::Command;
use std::thread;

use crate::catalogue::Allocator;
use crate::inputs::{self, Inputs};

/// One line about each of: the machine, the compiler, the allocators.
pub fn describe(allocators: &[&Allocator], inputs: &Inputs) -> Vec<String> {
    let mut lines = vec![machine(), compiler()];
    let versions: Vec<String> =
        allocators.iter().flat_map(|allocator| inputs.versions(allocator)).collect();
    if !versions.is_empty() {
        lines.push(versions.join(", "));
    }
    lines
}

fn machine() -> String {
    let cores = cores();
    let mut facts = vec![
        processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        format!("{cores} core{}", if cores == 1 { "" } else { "s" }),
    ];
    facts.extend(kernel());
    facts.extend(libc_version());
    facts.extend(huge_pages());
    facts.join(", ")
}

pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Today's, in UTC.
pub fn date() -> Result<String, String> {
    let output = Command::new("date").args(["-u", "+%F"]).output();
    let output = output.map_err(|error| format!("cannot ask for the date: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kernel() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(format!("Linux {}", release.trim()))
}

fn libc_version() -> Option<String> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let version = String::from_utf8(output.ok()?.stdout).ok()?;
    Some(version.trim().to_owned()).filter(|version| !version.is_empty())
}

/// The policy decides what fresh memory costs, and allocators ask for it in different ways.
fn huge_pages() -> Option<String> {
    let policies = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let (_, rest) = policies.split_once('[')?;
    Some(format!("transparent huge pages {}", rest.split_once(']')?.0))
}

fn compiler() -> String {
    let version = inputs::rustc_version().unwrap_or_default();
    version.lines().next().unwrap_or("unknown rustc").to_owned()
}
