//! The sheet that the picture is on: the document around everything, and the rows.
//!
//! All text is this file's own or a number, so that there is nothing to escape.
#![forbid(unsafe_code)]

use core::fmt::{self, Write};
use core::iter;

use crate::census::Stats;
use crate::config::{ALIGNMENT, POOLS_PER_ARENA};

use super::fold::{Cell, Ground, fold};
use super::{ArenaRow, FILL_MAX, colours, head};

pub(super) const MARGIN: usize = 24;
/// Where the cells start, to the right of their rows' labels.
pub(super) const MAP_LEFT: usize = MARGIN + 138;
pub(super) const CELL_WIDTH: usize = 12;
pub(super) const WIDTH: usize = MAP_LEFT + POOLS_PER_ARENA * CELL_WIDTH + MARGIN;

/// Rows that are drawn tall; where there are more, all are low.
const TALL_ROWS_MAX: usize = 32;
const GAP: usize = 2;
/// Height of the map of a heap without arenas.
const EMPTY_HEIGHT: usize = 96;

/// What is drawn, from dark to light; the colours of the classes stand out from all of these.
const INK: &str = "#1f2933";
pub(super) const PALE_INK: &str = "#5f6b7a";
pub(super) const HEADER: &str = "#3e4c59";
pub(super) const UNUSED: &str = "#eceff2";
const PAPER: &str = "#ffffff";
/// The pattern of purged pools; its name is long since it may share a page with others.
pub(super) const PURGED: &str = "url(#obmalloc-purged)";
/// How much of a class's colour is in the ground of its cells.
pub(super) const TINT: &str = ".28";

/// Whether rows are tall or low, in pixels; either way a step of how full a pool is has a half of
/// them or a whole.
#[derive(Clone, Copy)]
struct RowShape {
    height: usize,
    step: &'static str,
    font_size: usize,
}

const TALL: RowShape = RowShape { height: FILL_MAX as usize, step: "1", font_size: 12 };
const LOW: RowShape = RowShape { height: FILL_MAX as usize / 2, step: ".5", font_size: 10 };

/// Writes the whole document for these arenas, sorted by address.
pub(super) fn write(
    arenas: &[&ArenaRow],
    arenas_per_row: usize,
    stats: &Stats,
    out: &mut dyn Write,
) -> fmt::Result {
    let row_count = arenas.len().div_ceil(arenas_per_row);
    let shape = if row_count > TALL_ROWS_MAX { LOW } else { TALL };
    let map_height = match row_count {
        0 => EMPTY_HEIGHT,
        _ => row_count * (shape.height + GAP) - GAP,
    };
    let height = head::HEIGHT + map_height + MARGIN;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" fill=\"{INK}\" font-size=\"12\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\">"
    )?;
    head::write_description(arenas.len(), arenas_per_row, stats, out)?;
    write_patterns(out)?;
    // The colours are made for paper; without it a dark page would show through.
    writeln!(out, "<rect class=\"paper\" width=\"100%\" height=\"100%\" fill=\"{PAPER}\"/>")?;
    head::write(arenas.len(), arenas_per_row, stats, out)?;
    if arenas.is_empty() {
        write_no_arenas(out)?;
    }
    for (index, row) in arenas.chunks(arenas_per_row.max(1)).enumerate() {
        write_row(row, arenas_per_row, index * (shape.height + GAP), shape, out)?;
    }
    if !arenas.is_empty() {
        write_grid(map_height, out)?;
    }
    out.write_str("</svg>\n")
}

fn write_patterns(out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "<defs><pattern id=\"obmalloc-purged\" width=\"5\" height=\"5\" \
         patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <rect width=\"5\" height=\"5\" fill=\"{PAPER}\"/>\
         <rect width=\"1.2\" height=\"5\" fill=\"#bcc5cf\"/></pattern></defs>"
    )
}

fn write_no_arenas(out: &mut dyn Write) -> fmt::Result {
    let (left, width, middle) = (MARGIN, WIDTH - 2 * MARGIN, WIDTH / 2);
    let (top, base) = (head::HEIGHT, head::HEIGHT + EMPTY_HEIGHT / 2 + 5);
    writeln!(
        out,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{EMPTY_HEIGHT}\" \
         fill=\"{UNUSED}\"/><text x=\"{middle}\" y=\"{base}\" font-size=\"14\" \
         text-anchor=\"middle\" fill=\"{PALE_INK}\">no arenas</text>"
    )
}

/// A row at `top` below the first one.
fn write_row(
    arenas: &[&ArenaRow],
    arenas_per_row: usize,
    top: usize,
    shape: RowShape,
    out: &mut dyn Write,
) -> fmt::Result {
    let Some(first) = arenas.first() else { return Ok(()) };
    let cells = fold(arenas);
    let RowShape { height, step, font_size } = shape;
    let (top, base) = (head::HEIGHT + top, height / 2 + font_size / 3);
    write!(
        out,
        "<g class=\"arena\" transform=\"translate({MAP_LEFT} {top})\">\
         <text x=\"-8\" y=\"{base}\" text-anchor=\"end\" font-size=\"{font_size}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', monospace\" fill=\"{PALE_INK}\">{:#x}",
        first.address
    )?;
    if arenas_per_row > 1 {
        write!(out, " x {}", arenas.len())?;
    }
    let width = POOLS_PER_ARENA * CELL_WIDTH;
    write!(
        out,
        "</text><rect width=\"{width}\" height=\"{height}\" fill=\"{UNUSED}\"/>\
         <rect class=\"headers\" width=\"{CELL_WIDTH}\" height=\"{height}\" fill=\"{HEADER}\"/>"
    )?;
    write_purged(&cells, height, out)?;
    write!(
        out,
        "<g class=\"pools\" transform=\"scale({CELL_WIDTH} {step})\" \
         shape-rendering=\"crispEdges\">"
    )?;
    write_pools(&cells, out)?;
    out.write_str("</g></g>\n")
}

/// Cells next to each other that `is_same` takes for one: the first, its column, how many there are.
/// The headers' column is column 0.
fn runs(
    cells: &[Cell],
    is_same: impl Fn(&Cell, &Cell) -> bool,
) -> impl Iterator<Item = (&Cell, usize, usize)> {
    let mut rest = (1..).zip(cells).peekable();
    iter::from_fn(move || {
        let (column, first) = rest.next()?;
        let mut length = 1;
        while rest.next_if(|(_, cell)| is_same(first, cell)).is_some() {
            length += 1;
        }
        Some((first, column, length))
    })
}

/// Hatches the purged cells, neighbours as one. They are no part of what is scaled, since
/// that would distort the pattern.
fn write_purged(cells: &[Cell], height: usize, out: &mut dyn Write) -> fmt::Result {
    let is_purged = |cell: &Cell| cell.ground == Ground::Purged;
    let runs = runs(cells, |a, b| is_purged(a) == is_purged(b));
    for (_, column, length) in runs.filter(|(first, ..)| is_purged(first)) {
        let (left, width) = (column * CELL_WIDTH, length * CELL_WIDTH);
        write!(
            out,
            "<rect class=\"purged\" x=\"{left}\" width=\"{width}\" height=\"{height}\" \
             fill=\"{PURGED}\"><title>purged</title></rect>"
        )?;
    }
    Ok(())
}

/// Draws the cells that have a class, equal neighbours as one. A cell is one wide here, and as high as
/// it has steps of being full.
fn write_pools(cells: &[Cell], out: &mut dyn Write) -> fmt::Result {
    for (cell, column, length) in runs(cells, |a, b| a == b) {
        if cell.class_number != 0 {
            write_cell(*cell, column, length, out)?;
        }
    }
    Ok(())
}

fn write_cell(cell: Cell, left: usize, width: usize, out: &mut dyn Write) -> fmt::Result {
    let Cell { ground, class_number, fill } = cell;
    let bytes = usize::from(class_number) * ALIGNMENT;
    let percent = usize::from(fill) * 100 / usize::from(FILL_MAX);
    let colour = colours::of_class(class_number);
    write!(out, "<g fill=\"{colour}\"><title>{bytes} B, {percent} % in use</title>")?;
    if ground == Ground::Class && fill < FILL_MAX {
        write!(
            out,
            "<rect x=\"{left}\" width=\"{width}\" height=\"{FILL_MAX}\" opacity=\"{TINT}\"/>"
        )?;
    }
    if fill > 0 {
        let top = FILL_MAX - fill;
        write!(out, "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{fill}\"/>")?;
    }
    out.write_str("</g>")
}

/// Lines between the cells, over all rows at once, so that neighbours which are drawn as one can still
/// be counted.
fn write_grid(height: usize, out: &mut dyn Write) -> fmt::Result {
    let top = head::HEIGHT;
    write!(
        out,
        "<path class=\"grid\" fill=\"none\" stroke=\"{PAPER}\" stroke-opacity=\".55\" \
         shape-rendering=\"crispEdges\" d=\""
    )?;
    for column in 1..POOLS_PER_ARENA {
        write!(out, "M{} {top}v{height}", MAP_LEFT + column * CELL_WIDTH)?;
    }
    out.write_str("\"/>\n")
}
