//! The resident memory of this process, in bytes; `None` where the system does not tell.

use std::fs;

/// What a workload holds at its moment of interest, and how much it would be at best, or was before.
pub struct Held {
    pub resident_bytes: u64,
    pub reference_bytes: u64,
}

/// The resident memory before a workload began.
pub struct Before(Option<u64>);

impl Before {
    pub fn now() -> Self {
        // The first reading also takes the memory that any reading needs.
        resident();
        Self(resident())
    }

    /// What was added since, and is there now.
    pub fn held(&self, reference_bytes: u64) -> Option<Held> {
        let resident_bytes = resident()?.saturating_sub(self.0?);
        Some(Held { resident_bytes, reference_bytes })
    }
}

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
