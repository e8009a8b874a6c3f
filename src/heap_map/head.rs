//! What stands above the map: title, totals, legend.
#![forbid(unsafe_code)]

use core::fmt::{self, Display, Formatter, Write};

use crate::census::Stats;
use crate::config::{ALIGNMENT, ARENA_BYTES, CLASS_COUNT, POOL_BYTES};
use crate::stats::Grouped;

use super::colours;
use super::sheet::{HEADER, MARGIN, PALE_INK, PURGED, TINT, UNUSED, WIDTH};

/// Where the map starts.
pub(super) const HEIGHT: usize = LEGEND_TOP + 64;

const BAR_TOP: usize = 80;
const BAR_HEIGHT: usize = 16;
const TOTALS_TOP: usize = BAR_TOP + BAR_HEIGHT + 24;
const TOTALS_COLUMNS: usize = 4;
const TOTALS_STEP: usize = 40;
const LEGEND_TOP: usize = TOTALS_TOP + 2 * TOTALS_STEP + 8;
/// Where the text beside the marks of the legend stands.
const LEGEND_BASE: usize = LEGEND_TOP + 11;
/// Width and height of a mark that explains a colour.
const MARK: usize = 14;

/// Width of what has the margins on both sides.
const INNER_WIDTH: usize = WIDTH - 2 * MARGIN;

/// A number of bytes in the largest unit of which there is one.
struct Bytes(usize);

impl Display for Bytes {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as u128;
        let unit = ["KiB", "MiB", "GiB", "TiB"].into_iter().zip([10, 20, 30, 40]);
        match unit.take_while(|(_, shift)| bytes >> shift > 0).last() {
            None => write!(formatter, "{bytes} B"),
            Some((name, shift)) => {
                let tenths = (bytes * 10 + (1 << (shift - 1))) >> shift;
                write!(formatter, "{}.{} {name}", tenths / 10, tenths % 10)
            }
        }
    }
}

/// A part of a whole, in percent.
struct Percent(usize, usize);

impl Display for Percent {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (part, whole) = (self.0 as u128, self.1 as u128);
        let tenths = (part * 1000 + whole / 2).checked_div(whole).unwrap_or(0);
        write!(formatter, "{}.{} %", tenths / 10, tenths % 10)
    }
}

/// Bytes of the arenas of one kind.
struct Part {
    name: &'static str,
    paint: &'static str,
    bytes: usize,
}

/// All bytes of the arenas, each in one part.
fn parts(stats: &Stats) -> [Part; 7] {
    let purged = stats.arenas.unused_pools_purged * POOL_BYTES;
    let unused = stats.unused_pool_bytes().saturating_sub(purged);
    let part = |name, paint, bytes| Part { name, paint, bytes };
    [
        part("used", "#14746f", stats.used_bytes()),
        part("cached", "#56b3a5", stats.cached_bytes()),
        part("free", "#bfe3da", stats.free_bytes()),
        part("lost to quantization", "#9aa5b1", stats.quantization_bytes()),
        part("headers", HEADER, stats.header_bytes()),
        part("unused pools", UNUSED, unused),
        part("purged", PURGED, purged),
    ]
}

/// How the picture is to be read.
struct Scale {
    arenas: usize,
    arenas_per_row: usize,
}

impl Display for Scale {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (arena, pool) = (ARENA_BYTES / 1024, POOL_BYTES / 1024);
        match (self.arenas, self.arenas_per_row) {
            (1, _) => write!(formatter, "1 arena")?,
            (arenas, _) => write!(formatter, "{} arenas", Grouped(arenas))?,
        }
        match self.arenas_per_row {
            0 | 1 => write!(
                formatter,
                ". A row is an arena of {arena} KiB, a cell one of its pools of {pool} KiB."
            ),
            arenas => write!(
                formatter,
                ". A row is {arenas} arenas of {arena} KiB, a cell {arenas} pools of {pool} KiB, \
                 with the colour of most, filled by their mean."
            ),
        }
    }
}

/// Title and description for those who do not see the picture.
pub(super) fn write_description(
    arenas: usize,
    arenas_per_row: usize,
    stats: &Stats,
    out: &mut dyn Write,
) -> fmt::Result {
    let whole = stats.arena_bytes();
    let scale = Scale { arenas, arenas_per_row };
    write!(out, "<title>Heap map of obmalloc, {}</title>\n<desc>{scale}", Bytes(whole))?;
    for Part { name, bytes, .. } in parts(stats) {
        write!(out, " {} {name} ({}).", Bytes(bytes), Percent(bytes, whole))?;
    }
    out.write_str("</desc>\n")
}

pub(super) fn write(
    arenas: usize,
    arenas_per_row: usize,
    stats: &Stats,
    out: &mut dyn Write,
) -> fmt::Result {
    let scale = Scale { arenas, arenas_per_row };
    writeln!(
        out,
        "<text x=\"{MARGIN}\" y=\"40\" font-size=\"20\" font-weight=\"600\">Heap map: {} in \
         arenas</text>\n<text x=\"{MARGIN}\" y=\"62\" fill=\"{PALE_INK}\">{scale}</text>",
        Bytes(stats.arena_bytes())
    )?;
    write_bar(stats, out)?;
    write_totals(stats, out)?;
    write_legend(out)
}

/// All bytes of the arenas, side by side.
fn write_bar(stats: &Stats, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "<g class=\"bar\">")?;
    let whole = stats.arena_bytes();
    let place = |bytes: usize| {
        let pixels = bytes as u128 * INNER_WIDTH as u128;
        MARGIN + pixels.checked_div(whole as u128).unwrap_or(0) as usize
    };
    let mut bytes_before = 0;
    for Part { name, paint, bytes } in parts(stats) {
        let (left, right) = (place(bytes_before), place(bytes_before + bytes));
        if left < right {
            let width = right - left;
            write!(
                out,
                "<rect x=\"{left}\" y=\"{BAR_TOP}\" width=\"{width}\" height=\"{BAR_HEIGHT}\" \
                 fill=\"{paint}\"><title>{name}</title></rect>"
            )?;
        }
        bytes_before += bytes;
    }
    writeln!(
        out,
        "<rect x=\"{MARGIN}\" y=\"{BAR_TOP}\" width=\"{INNER_WIDTH}\" height=\"{BAR_HEIGHT}\" \
         fill=\"none\" stroke=\"#c3cbd4\"/></g>"
    )
}

/// The same bytes as numbers; each kind's mark is also the legend of the bar and of the map.
fn write_totals(stats: &Stats, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "<g class=\"totals\">")?;
    let whole = stats.arena_bytes();
    for (index, Part { name, paint, bytes }) in parts(stats).iter().enumerate() {
        let left = MARGIN + index % TOTALS_COLUMNS * (INNER_WIDTH / TOTALS_COLUMNS);
        let base = TOTALS_TOP + index / TOTALS_COLUMNS * TOTALS_STEP;
        let (mark_top, text_left, next_base) = (base - 11, left + MARK + 8, base + 17);
        writeln!(
            out,
            "<rect x=\"{left}\" y=\"{mark_top}\" width=\"{MARK}\" height=\"{MARK}\" fill=\"{paint}\" \
             stroke=\"#c3cbd4\"/><text x=\"{text_left}\" y=\"{base}\" fill=\"{PALE_INK}\">{name}\
             </text><text x=\"{text_left}\" y=\"{next_base}\" font-size=\"14\">{}\
             <tspan fill=\"{PALE_INK}\" dx=\"8\">{}</tspan></text>",
            Bytes(*bytes),
            Percent(*bytes, whole)
        )?;
    }
    out.write_str("</g>\n")
}

/// The colours of the classes, and what the filling of a cell means.
fn write_legend(out: &mut dyn Write) -> fmt::Result {
    out.write_str("<g class=\"legend\">")?;
    let scale_left = MARGIN + 76;
    write_label(MARGIN, "block size", out)?;
    for number in 1..=CLASS_COUNT {
        let (place, next) = (colours::place_of(number), colours::place_of(number + 1));
        let (left, width) = (scale_left + place, next - place);
        let colour = colours::of_class(number as u8);
        write!(
            out,
            "<rect x=\"{left}\" y=\"{LEGEND_TOP}\" width=\"{width}\" height=\"{MARK}\" \
             fill=\"{colour}\" shape-rendering=\"crispEdges\"/>"
        )?;
    }
    for (bytes, unit) in
        [(8, ""), (16, ""), (32, ""), (64, ""), (128, ""), (256, ""), (384, ""), (512, " B")]
    {
        let number = bytes / ALIGNMENT;
        let middle = colours::place_of(number) + colours::place_of(number + 1);
        let (middle, base) = (scale_left + middle / 2, LEGEND_TOP + MARK + 14);
        write!(
            out,
            "<text x=\"{middle}\" y=\"{base}\" font-size=\"10\" text-anchor=\"middle\">{bytes}\
             {unit}</text>"
        )?;
    }
    write_fillings(scale_left + colours::place_of(CLASS_COUNT) + 80, out)?;
    out.write_str("</g>\n")
}

/// Cells of one class with more and more blocks in use.
fn write_fillings(left: usize, out: &mut dyn Write) -> fmt::Result {
    write_label(left, "blocks in use", out)?;
    let colour = colours::of_class(16);
    let mut left = left + 96;
    for (percent, height) in [(0, 0), (50, MARK / 2), (100, MARK)] {
        let top = LEGEND_TOP + MARK - height;
        write!(
            out,
            "<g fill=\"{colour}\"><rect x=\"{left}\" y=\"{LEGEND_TOP}\" width=\"{MARK}\" \
             height=\"{MARK}\" opacity=\"{TINT}\"/><rect x=\"{left}\" y=\"{top}\" \
             width=\"{MARK}\" height=\"{height}\"/></g><text x=\"{}\" y=\"{LEGEND_BASE}\">\
             {percent} %</text>",
            left + MARK + 6
        )?;
        left += 76;
    }
    Ok(())
}

fn write_label(left: usize, label: &str, out: &mut dyn Write) -> fmt::Result {
    write!(out, "<text x=\"{left}\" y=\"{LEGEND_BASE}\" fill=\"{PALE_INK}\">{label}</text>")
}
