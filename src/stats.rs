//! The numbers of a heap as text: the table that CPython's `sys._debugmallocstats` prints, JSON, and
//! what Prometheus scrapes.
//!
//! Nothing here allocates, so that writing the numbers does not change what they are about; where the
//! text goes may.
#![forbid(unsafe_code)]

use core::fmt::{self, Display, Formatter, Write};
use core::str;

use static_assertions::const_assert;

use crate::census::{ArenaStats, ClassStats, LargeStats, Stats, ThreadStats};
use crate::config::{ARENA_BYTES, CLASS_COUNT, POOL_BYTES, SMALL_MAX};

mod prometheus;

/// Characters of a label, blanks behind it included.
const LABEL_CHARS: usize = 35;

/// Most characters of a number in groups: twenty digits, six commas.
const GROUPED_CHARS_MAX: usize = 26;

/// A number with a comma between each three of its digits.
pub(crate) struct Grouped(pub(crate) usize);

impl Display for Grouped {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut characters = [0_u8; GROUPED_CHARS_MAX];
        let (mut rest, mut digits, mut unused) = (self.0, 0, GROUPED_CHARS_MAX);
        for place in characters.iter_mut().rev() {
            if digits > 0 && rest == 0 {
                break;
            }
            unused -= 1;
            if digits == 3 {
                (*place, digits) = (b',', 0);
            } else {
                *place = b'0' + (rest % 10) as u8;
                (rest, digits) = (rest / 10, digits + 1);
            }
        }
        let grouped = characters.get(unused..).unwrap_or_default();
        formatter.pad(str::from_utf8(grouped).unwrap_or_default())
    }
}

/// Passes text on and counts its characters, which are ASCII.
struct Counting<'a, 'b> {
    formatter: &'a mut Formatter<'b>,
    count: usize,
}

impl Write for Counting<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.count += text.len();
        self.formatter.write_str(text)
    }
}

/// A line: a count that its label begins with, if there is one, the rest of that, and a number.
type Line = (Option<usize>, &'static str, usize);

/// Lines, and an empty one in front.
fn write_lines(lines: &[Line], formatter: &mut Formatter<'_>) -> fmt::Result {
    formatter.write_char('\n')?;
    for (count, label, number) in lines {
        let mut counting = Counting { formatter, count: 0 };
        if let Some(count) = count {
            write!(counting, "{count} ")?;
        }
        counting.write_str(label)?;
        for _ in counting.count..LABEL_CHARS {
            formatter.write_char(' ')?;
        }
        writeln!(formatter, "={:>21}", Grouped(*number))?;
    }
    Ok(())
}

/// The table that CPython prints (`sys._debugmallocstats`), with its labels and in its order, and then
/// what CPython's allocator does not have.
///
/// "Blocks in use" are all that pools have handed out: those that the program uses, and those that
/// are cached. Pool headers are the first pool of each arena. All is in bytes where a label does not
/// say otherwise.
impl Display for Stats {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "Small block threshold = {SMALL_MAX}, in {CLASS_COUNT} size classes.\n\n\
             class   size   num pools   blocks in use  avail blocks\n\
             -----   ----   ---------   -------------  ------------"
        )?;
        for (index, class) in self.classes.iter().enumerate().filter(|(_, class)| class.pools > 0) {
            let in_use = class.used_blocks + class.cached_blocks;
            writeln!(
                formatter,
                "{index:>5} {:>6} {:>11} {in_use:>15} {:>13}",
                class.block_bytes, class.pools, class.free_blocks
            )?;
        }
        write_lines(&arena_lines(self), formatter)?;
        write_lines(&byte_lines(self), formatter)?;
        write_lines(&cached_lines(self), formatter)?;
        write_lines(&purged_lines(self), formatter)?;
        write_lines(&large_lines(self), formatter)?;
        write_lines(&thread_lines(self), formatter)
    }
}

/// The arenas, as CPython counts them.
fn arena_lines(stats: &Stats) -> [Line; 5] {
    let ArenaStats { mapped, high_water, mapped_ever, released, .. } = stats.arenas;
    const_assert!(ARENA_BYTES == 262_144);
    [
        (None, "# arenas allocated total", mapped_ever),
        (None, "# arenas reclaimed", released),
        (None, "# arenas highwater mark", high_water),
        (None, "# arenas allocated current", mapped),
        (Some(mapped), "arenas * 262144 bytes/arena", stats.arena_bytes()),
    ]
}

/// Where the bytes of the arenas are, as CPython divides them.
fn byte_lines(stats: &Stats) -> [Line; 7] {
    let allocated = stats.used_bytes() + stats.cached_bytes();
    let available = stats.free_bytes();
    let unused = stats.unused_pool_bytes();
    let headers = stats.header_bytes();
    let quantization = stats.quantization_bytes();
    const_assert!(POOL_BYTES == 4096);
    [
        (None, "# bytes in allocated blocks", allocated),
        (None, "# bytes in available blocks", available),
        (Some(stats.arenas.unused_pools), "unused pools * 4096 bytes", unused),
        (None, "# bytes lost to pool headers", headers),
        (None, "# bytes lost to quantization", quantization),
        // Arenas are mapped on their alignment.
        (None, "# bytes lost to arena alignment", 0),
        (None, "Total", allocated + available + unused + headers + quantization),
    ]
}

// What follows, CPython's allocator does not have.

fn cached_lines(stats: &Stats) -> [Line; 2] {
    let cached_blocks = stats.classes.iter().map(|class| class.cached_blocks).sum();
    [
        (None, "# blocks cached", cached_blocks),
        (None, "# bytes in cached blocks", stats.cached_bytes()),
    ]
}

fn purged_lines(stats: &Stats) -> [Line; 4] {
    let ArenaStats { remapped, unused_pools_purged: purged, pools_purged_ever, .. } = stats.arenas;
    [
        (None, "# arenas mapped again", remapped),
        (None, "# pools purged total", pools_purged_ever),
        (None, "# unused pools without memory", purged),
        (Some(purged), "purged pools * 4096 bytes", purged * POOL_BYTES),
    ]
}

fn large_lines(stats: &Stats) -> [Line; 3] {
    let LargeStats { cached_blocks, cached_bytes, taken_bytes } = stats.large;
    [
        (None, "# large blocks cached", cached_blocks),
        (None, "# bytes in cached large blocks", cached_bytes),
        (None, "# bytes taken for large blocks", taken_bytes),
    ]
}

fn thread_lines(stats: &Stats) -> [Line; 4] {
    let thread = &stats.thread;
    [
        (None, "# blocks in this thread's cache", thread.cached_blocks),
        (None, "# bytes in this thread's cache", thread.cached_bytes),
        (None, "# large blocks in it", thread.large_cached_blocks),
        (None, "# bytes in large blocks in it", thread.large_cached_bytes),
    ]
}

impl Stats {
    /// Writes one JSON object, of whole numbers in bytes, blocks, pools and arenas:
    ///
    /// - `classes`: an array with an object for each size class that has pools or cached blocks, whose
    ///   keys are the fields of [`ClassStats`];
    /// - `arenas`, `large`, `thread`: objects with the fields of [`ArenaStats`], [`LargeStats`] and
    ///   [`ThreadStats`];
    /// - `bytes`: an object that says what the bytes of the arenas are, with the keys `arena`, of all,
    ///   and `used`, `cached`, `free`, `unused_pools`, `headers`, `quantization`.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    ///
    /// # Examples
    ///
    /// ```
    /// use obmalloc::Obmalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: Obmalloc = Obmalloc::new();
    ///
    /// let mut text = String::new();
    /// GLOBAL.stats().write_json(&mut text)?;
    /// assert!(text.starts_with("{\"classes\":["));
    /// # Ok::<(), std::fmt::Error>(())
    /// ```
    pub fn write_json(&self, out: &mut impl Write) -> fmt::Result {
        write_json(self, out)
    }

    /// Writes all numbers in the text format that Prometheus scrapes (version 0.0.4, of the content
    /// type `text/plain; version=0.0.4`).
    ///
    /// Names start with `obmalloc_`. Those of gauges end with their unit: `_bytes`, `_blocks`, `_pools`,
    /// `_arenas`; those of counters, which only ever grow, with `_total`. What there is of each size
    /// class has the label `class_bytes`, the size of the class's blocks; classes with neither pools nor
    /// cached blocks are left out.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    ///
    /// # Examples
    ///
    /// ```
    /// use obmalloc::Obmalloc;
    ///
    /// #[global_allocator]
    /// static GLOBAL: Obmalloc = Obmalloc::new();
    ///
    /// let mut page = String::new();
    /// GLOBAL.stats().write_prometheus(&mut page)?;
    /// assert!(page.contains("\nobmalloc_arena_bytes "));
    /// # Ok::<(), std::fmt::Error>(())
    /// ```
    pub fn write_prometheus(&self, out: &mut impl Write) -> fmt::Result {
        prometheus::write(self, out)
    }
}

fn write_json(stats: &Stats, out: &mut dyn Write) -> fmt::Result {
    out.write_str("{\"classes\":[")?;
    let classes = stats.classes.iter().filter(|class| class.is_present());
    for (index, class) in classes.enumerate() {
        if index > 0 {
            out.write_char(',')?;
        }
        write_object(&class_fields(class), out)?;
    }
    out.write_str("],\"arenas\":")?;
    write_object(&arena_fields(&stats.arenas), out)?;
    out.write_str(",\"bytes\":")?;
    write_object(&byte_fields(stats), out)?;
    out.write_str(",\"large\":")?;
    write_object(&large_fields(&stats.large), out)?;
    out.write_str(",\"thread\":")?;
    write_object(&thread_fields(&stats.thread), out)?;
    out.write_char('}')
}

/// A number and the name that it has in JSON.
type Field = (&'static str, usize);

/// A JSON object of numbers. The names need no escapes.
fn write_object(fields: &[Field], out: &mut dyn Write) -> fmt::Result {
    let mut separator = '{';
    for (name, number) in fields {
        write!(out, "{separator}\"{name}\":{number}")?;
        separator = ',';
    }
    out.write_char('}')
}

/// Names each of these fields once, for an array with the names of the fields.
macro_rules! fields {
    ($from:ident: $($name:ident),+) => { [$((stringify!($name), $from.$name)),+] };
}

fn class_fields(class: &ClassStats) -> [Field; 5] {
    fields!(class: block_bytes, pools, used_blocks, free_blocks, cached_blocks)
}

fn arena_fields(arenas: &ArenaStats) -> [Field; 8] {
    fields!(arenas:
        mapped, high_water, mapped_ever, remapped, released,
        unused_pools, unused_pools_purged, pools_purged_ever)
}

fn byte_fields(stats: &Stats) -> [Field; 7] {
    [
        ("arena", stats.arena_bytes()),
        ("used", stats.used_bytes()),
        ("cached", stats.cached_bytes()),
        ("free", stats.free_bytes()),
        ("unused_pools", stats.unused_pool_bytes()),
        ("headers", stats.header_bytes()),
        ("quantization", stats.quantization_bytes()),
    ]
}

fn large_fields(large: &LargeStats) -> [Field; 3] {
    fields!(large: cached_blocks, cached_bytes, taken_bytes)
}

fn thread_fields(thread: &ThreadStats) -> [Field; 4] {
    fields!(thread: cached_blocks, cached_bytes, large_cached_blocks, large_cached_bytes)
}

#[cfg(test)]
mod tests;
