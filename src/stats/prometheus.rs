//! The numbers as metrics, in Prometheus's text format 0.0.4: for each metric a line that says what it
//! is, one with its type, and its samples.
#![forbid(unsafe_code)]

use core::fmt::{self, Write};

use crate::census::{ClassStats, Stats};

/// A number that falls as well as it rises, or one that only rises.
///
/// No gauge may have the name of a counter without its `_total`: OpenMetrics, which newer scrapers
/// translate to, would take the two for one.
#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// A metric, and how to get its number from what it is a metric of. Names are without their common
/// prefix; neither they nor the help need escapes.
struct Metric<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    number: fn(&T) -> usize,
}

impl<T> Metric<T> {
    const fn gauge(name: &'static str, help: &'static str, number: fn(&T) -> usize) -> Self {
        Self { name, kind: Kind::Gauge, help, number }
    }

    const fn counter(name: &'static str, help: &'static str, number: fn(&T) -> usize) -> Self {
        Self { name, kind: Kind::Counter, help, number }
    }

    fn write_head(&self, out: &mut dyn Write) -> fmt::Result {
        let Self { name, help, .. } = self;
        let kind = self.kind.name();
        write!(out, "# HELP obmalloc_{name} {help}\n# TYPE obmalloc_{name} {kind}\n")
    }
}

/// What there is of each size class.
const OF_A_CLASS: [Metric<ClassStats>; 4] = [
    Metric::gauge("class_pools", "Pools of 4096 bytes that the size class has.", |class| {
        class.pools
    }),
    Metric::gauge(
        "class_used_blocks",
        "Blocks that the program uses or other threads cache.",
        |class| class.used_blocks,
    ),
    Metric::gauge("class_free_blocks", "Blocks in pools, freed or never handed out.", |class| {
        class.free_blocks
    }),
    Metric::gauge(
        "class_cached_blocks",
        "Blocks in depots and in the cache of the thread that asked.",
        |class| class.cached_blocks,
    ),
];

/// What the bytes of the arenas are.
const OF_BYTES: [Metric<Stats>; 7] = [
    Metric::gauge("arena_bytes", "Bytes of all mapped arenas.", Stats::arena_bytes),
    Metric::gauge(
        "used_bytes",
        "Bytes of small blocks that the program uses or other threads cache.",
        Stats::used_bytes,
    ),
    Metric::gauge(
        "cached_bytes",
        "Bytes of small blocks in depots and in the cache of the thread that asked.",
        Stats::cached_bytes,
    ),
    Metric::gauge(
        "free_bytes",
        "Bytes of small blocks in pools, freed or never handed out.",
        Stats::free_bytes,
    ),
    Metric::gauge(
        "unused_pool_bytes",
        "Bytes of pools that no size class has.",
        Stats::unused_pool_bytes,
    ),
    Metric::gauge("header_bytes", "Bytes of the headers in the arenas.", Stats::header_bytes),
    Metric::gauge(
        "quantization_bytes",
        "Bytes of pools that their blocks leave free.",
        Stats::quantization_bytes,
    ),
];

/// Arenas and their pools, by number.
const OF_ARENAS: [Metric<Stats>; 8] = [
    Metric::gauge("mapped_arenas", "Arenas of 256 KiB that are mapped.", |stats| {
        stats.arenas.mapped
    }),
    Metric::gauge("high_water_arenas", "The most arenas that were mapped at any time.", |stats| {
        stats.arenas.high_water
    }),
    Metric::counter("arenas_mapped_total", "Arenas that were ever mapped.", |stats| {
        stats.arenas.mapped_ever
    }),
    Metric::counter(
        "arenas_remapped_total",
        "Arenas mapped while an earlier release was not made up for.",
        |stats| stats.arenas.remapped,
    ),
    Metric::counter("arenas_released_total", "Arenas that were released.", |stats| {
        stats.arenas.released
    }),
    Metric::gauge("unused_pools", "Pools that no size class has.", |stats| {
        stats.arenas.unused_pools
    }),
    Metric::gauge("purged_unused_pools", "Unused pools that hold no memory.", |stats| {
        stats.arenas.unused_pools_purged
    }),
    Metric::counter("pools_purged_total", "Pools that were ever purged.", |stats| {
        stats.arenas.pools_purged_ever
    }),
];

/// Large blocks, and the cache of the thread that asked.
const OF_THE_REST: [Metric<Stats>; 7] = [
    Metric::gauge(
        "large_cached_blocks",
        "Large blocks in depots and in the cache of the thread that asked.",
        |stats| stats.large.cached_blocks,
    ),
    Metric::gauge("large_cached_bytes", "Bytes of these large blocks.", |stats| {
        stats.large.cached_bytes
    }),
    Metric::gauge(
        "large_taken_bytes",
        "Bytes of large blocks of the sizes that are kept, taken from the system allocator.",
        |stats| stats.large.taken_bytes,
    ),
    Metric::gauge(
        "thread_cached_blocks",
        "Small blocks in the cache of the thread that asked.",
        |stats| stats.thread.cached_blocks,
    ),
    Metric::gauge("thread_cached_bytes", "Bytes of these small blocks.", |stats| {
        stats.thread.cached_bytes
    }),
    Metric::gauge(
        "thread_large_cached_blocks",
        "Large blocks in the cache of the thread that asked.",
        |stats| stats.thread.large_cached_blocks,
    ),
    Metric::gauge(
        "thread_large_cached_bytes",
        "Bytes of the large blocks in that thread's cache.",
        |stats| stats.thread.large_cached_bytes,
    ),
];

pub(super) fn write(stats: &Stats, out: &mut dyn Write) -> fmt::Result {
    for metric in OF_BYTES.iter().chain(&OF_ARENAS).chain(&OF_THE_REST) {
        metric.write_head(out)?;
        writeln!(out, "obmalloc_{} {}", metric.name, (metric.number)(stats))?;
    }
    for metric in &OF_A_CLASS {
        metric.write_head(out)?;
        for class in stats.classes.iter().filter(|class| class.is_present()) {
            let (name, bytes, number) = (metric.name, class.block_bytes, (metric.number)(class));
            writeln!(out, "obmalloc_{name}{{class_bytes=\"{bytes}\"}} {number}")?;
        }
    }
    Ok(())
}
