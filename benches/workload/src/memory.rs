//! The resident memory of this process, in bytes; `None` where the system does not tell.

use std::fs;

pub fn peak_resident() -> Option<u64> {
    field("/proc/self/status", "VmHWM:")
}

pub fn resident() -> Option<u64> {
    // The rollup counts pages; the counter in `status` is only brought up to date in batches.
    field("/proc/self/smaps_rollup", "Rss:").or_else(|| field("/proc/self/status", "VmRSS:"))
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
