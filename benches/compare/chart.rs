//! Charts: one for each kind of workload, with a row a case, and in each panel of it a mark an allocator.

use crate::case::Case;
use crate::catalogue::{Allocator, Kind};
use crate::options::Options;
use crate::results::{Metric, Results};
use crate::svg::{Svg, Text};

const MARGIN: f64 = 24.0;
const NAMES_WIDTH: f64 = 100.0;
const PANEL_WIDTH: f64 = 250.0;
/// Between two panels, with the absolute values of the one before.
const PANEL_GAP: f64 = 74.0;
const LEGEND_Y: f64 = 62.0;
const LEGEND_WIDTH: f64 = 104.0;
const PANELS_Y: f64 = 120.0;
const ROW_HEIGHT: f64 = 34.0;
/// The marks of a row stand one below the other, so that equal ratios do not hide each other.
const MARK_STEP: f64 = 3.2;
const FOOTER_LINE_HEIGHT: f64 = 15.0;
const FOOTER_CHARACTER_WIDTH: f64 = 6.5;
const MIB: f64 = (1 << 20) as f64;

/// A ratio beyond stands at the edge, so that one extreme does not flatten all others.
const AXIS_ENDS: (f64, f64) = (1.0 / 8.0, 16.0);
/// What is held of nothing has no place on an axis of ratios.
const AXIS_ENDS_HELD: (f64, f64) = (1.0 / 64.0, 64.0);

const INK: &str = "#222222";
const PALE_INK: &str = "#6b6b6b";
const GRID: &str = "#e3e3e3";
const SHADE: &str = "#f4f4f4";

struct Panel<'a> {
    metric: Metric,
    profile: &'a str,
    x: f64,
    axis: Axis,
}

/// From one ratio to another, by their logarithms.
#[derive(Clone, Copy)]
struct Axis {
    start: f64,
    end: f64,
}

impl Axis {
    /// The powers of two around all ratios, and around one.
    fn around(ratios: impl Iterator<Item = f64>, ends: (f64, f64)) -> Self {
        let (mut start, mut end) = (0.5_f64, 2.0_f64);
        for ratio in ratios {
            start = start.min(ratio);
            end = end.max(ratio);
        }
        Self {
            start: start.max(ends.0).log2().floor().exp2(),
            end: end.min(ends.1).log2().ceil().exp2(),
        }
    }

    /// From 0 at the start to 1 at the end.
    fn place_of(self, ratio: f64) -> f64 {
        let ratio = ratio.clamp(self.start, self.end);
        (ratio / self.start).log2() / (self.end / self.start).log2()
    }

    fn ticks(self) -> impl Iterator<Item = f64> {
        let step = if self.end / self.start > 64.0 { 4.0 } else { 2.0 };
        std::iter::successors(Some(self.start), move |tick| Some(tick * step))
            .take_while(move |tick| *tick <= self.end)
    }
}

struct Chart<'a> {
    options: &'a Options,
    /// Those in which a case of the kind was run.
    profiles: Vec<&'static str>,
    results: &'a Results,
    kind: Kind,
    cases: Vec<&'a Case>,
    width: f64,
    svg: Svg,
}

/// The chart of a kind; `None` if there is no case of it.
pub fn render(
    kind: Kind,
    options: &Options,
    results: &Results,
    environment: &[String],
) -> Option<String> {
    let cases: Vec<&Case> = options.cases.iter().filter(|case| case.kind() == kind).collect();
    if cases.is_empty() {
        return None;
    }
    let metrics: &[Metric] = match kind {
        Kind::Memory => &[Metric::Held],
        _ => &[Metric::Time, Metric::PeakRss],
    };
    let mut profiles = options.profiles.clone();
    profiles.retain(|profile| results.has_run(profile, &options.cases, kind));
    let panels = (metrics.len() * profiles.len()) as f64;
    let legend_width = options.allocators.len() as f64 * LEGEND_WIDTH;
    let panels_width = NAMES_WIDTH + panels * (PANEL_WIDTH + PANEL_GAP);
    let width = 2.0 * MARGIN + panels_width.max(legend_width);
    let mut chart = Chart { options, profiles, results, kind, cases, width, svg: Svg::new() };
    chart.draw_header();
    chart.draw_rows();
    let mut x = MARGIN + NAMES_WIDTH;
    for &metric in metrics {
        let axis = chart.axis(metric);
        for profile in chart.profiles.clone() {
            chart.draw_panel(&Panel { metric, profile, x, axis });
            x += PANEL_WIDTH + PANEL_GAP;
        }
    }
    let bottom = chart.draw_footer(environment);
    Some(chart.svg.finish(chart.width, bottom + MARGIN))
}

impl Chart<'_> {
    fn draw_header(&mut self) {
        let title = match self.kind {
            Kind::Memory => format!("{}: further left is better", capitalised(self.kind.name())),
            _ => format!(
                "{}, compared to {}: further left is better",
                capitalised(self.kind.name()),
                self.results.baseline()
            ),
        };
        let style = Text::new(19.0, INK).bold();
        self.svg.text(MARGIN, MARGIN + 14.0, style, &title);
        let mut x = MARGIN + 6.0;
        for allocator in &self.options.allocators {
            self.svg.path((x, LEGEND_Y - 4.5), allocator.mark, allocator.colour);
            self.svg.text(x + 10.0, LEGEND_Y, Text::new(13.0, INK), allocator.name);
            x += LEGEND_WIDTH;
        }
    }

    /// One more than there are cases where the last is their mean.
    fn rows(&self) -> usize {
        self.cases.len() + usize::from(self.kind != Kind::Memory)
    }

    fn draw_rows(&mut self) {
        for row in 0..self.rows() {
            let y = row_y(row);
            let style = Text::new(13.0, INK).anchored("end");
            let style = if row == self.cases.len() { style.bold() } else { style };
            if row.is_multiple_of(2) {
                self.svg.rectangle(MARGIN, y, self.width - 2.0 * MARGIN, ROW_HEIGHT, SHADE);
            }
            let name = self.cases.get(row).map_or("mean", |case| case.name());
            self.svg.text(MARGIN + NAMES_WIDTH - 12.0, y + ROW_HEIGHT / 2.0 + 4.5, style, name);
        }
    }

    fn draw_panel(&mut self, panel: &Panel) {
        let title = match panel.metric {
            Metric::Time => format!("Time, {}", panel.profile),
            Metric::PeakRss => format!("Peak resident memory, {}", panel.profile),
            Metric::Held => format!("Held, of the least or live, {}", panel.profile),
        };
        self.svg.text(panel.x, PANELS_Y - 28.0, Text::new(14.0, INK).bold(), &title);
        let bottom = row_y(self.rows());
        for tick in panel.axis.ticks() {
            let x = panel.x + panel.axis.place_of(tick) * PANEL_WIDTH;
            let colour = if tick == 1.0 { PALE_INK } else { GRID };
            self.svg.line((x, PANELS_Y - 5.0), (x, bottom), 1.0, colour);
            let label = if tick < 1.0 { format!("1/{}", 1.0 / tick) } else { tick.to_string() };
            let style = Text::new(10.0, PALE_INK).anchored("middle");
            self.svg.text(x, PANELS_Y - 9.0, style, &label);
        }
        for row in 0..self.rows() {
            self.draw_marks(panel, row);
        }
    }

    fn draw_marks(&mut self, panel: &Panel, row: usize) {
        let allocators = &self.options.allocators;
        let first = row_y(row) + (ROW_HEIGHT - (allocators.len() - 1) as f64 * MARK_STEP) / 2.0;
        // Backwards: what this is about lies on top.
        for (index, allocator) in allocators.iter().enumerate().rev() {
            let y = first + index as f64 * MARK_STEP;
            let Some(ratio) = self.ratio(panel, allocator, row) else { continue };
            let x_of = |ratio| panel.x + panel.axis.place_of(ratio) * PANEL_WIDTH;
            if let Some((fastest, slowest)) = self.range(panel, allocator, row) {
                self.svg.line((x_of(fastest), y), (x_of(slowest), y), 1.2, allocator.colour);
            }
            self.svg.path((x_of(ratio), y), allocator.mark, allocator.colour);
        }
        if let Some(label) = self.absolute(panel, row) {
            let y = row_y(row) + ROW_HEIGHT / 2.0 + 3.5;
            self.svg.text(panel.x + PANEL_WIDTH + 8.0, y, Text::new(10.0, PALE_INK), &label);
        }
    }

    /// The baseline's own value, of which the marks are multiples.
    fn absolute(&self, panel: &Panel, row: usize) -> Option<String> {
        let case = self.cases.get(row)?;
        let summary = self.results.summary(panel.profile, self.results.baseline(), case)?;
        let mib = |bytes: f64| format!("{:.1} MiB", bytes / MIB);
        match panel.metric {
            Metric::Time => Some(format!("{:.0} ms", summary.time * 1e3)),
            Metric::PeakRss => summary.peak_rss.map(mib),
            Metric::Held => summary.held.map(mib),
        }
    }

    fn ratio(&self, panel: &Panel, allocator: &Allocator, row: usize) -> Option<f64> {
        let &Panel { metric, profile, .. } = panel;
        match self.cases.get(row) {
            Some(case) => self.results.ratio(metric, profile, allocator.name, case),
            None => self.results.mean_ratio(
                metric,
                profile,
                allocator.name,
                &self.options.cases,
                self.kind,
            ),
        }
    }

    /// The fastest and the slowest run, relative to the median of the baseline.
    fn range(&self, panel: &Panel, allocator: &Allocator, row: usize) -> Option<(f64, f64)> {
        let case = self.cases.get(row).filter(|_| panel.metric == Metric::Time)?;
        let of = |allocator| self.results.summary(panel.profile, allocator, case);
        let (summary, baseline) = (of(allocator.name)?, of(self.results.baseline())?);
        Some((summary.fastest / baseline.time, summary.slowest / baseline.time))
    }

    /// One axis for all panels of a metric, so that profiles can be compared by eye.
    fn axis(&self, metric: Metric) -> Axis {
        let ends = if metric == Metric::Held { AXIS_ENDS_HELD } else { AXIS_ENDS };
        let ratios = self.profiles.iter().flat_map(|profile| {
            let all = Axis { start: ends.0, end: ends.1 };
            let panel = Panel { metric, profile, x: 0.0, axis: all };
            let of_panel: Vec<f64> = (0..self.rows())
                .flat_map(|row| self.options.allocators.iter().map(move |one| (row, one)))
                .filter_map(|(row, allocator)| self.ratio(&panel, allocator, row))
                .collect();
            of_panel
        });
        Axis::around(ratios, ends)
    }

    fn draw_footer(&mut self, environment: &[String]) -> f64 {
        let rounds = self.options.rounds;
        let explanation = match self.kind {
            Kind::Memory => format!(
                "Marks: median (of {rounds} rounds or more) of what is resident at the moment of interest, divided by \
                 what the workload names; at the right what {} holds. What is off the axis stands at its edge.",
                self.results.baseline()
            ),
            _ => format!(
                "Marks: median (of {rounds} rounds or more) divided by that of {}, whose own is at the right; lines: \
                 fastest to slowest run. Means: geometric. What is off the axis stands at its edge.",
                self.results.baseline()
            ),
        };
        let characters = ((self.width - 2.0 * MARGIN) / FOOTER_CHARACTER_WIDTH) as usize;
        let mut y = row_y(self.rows()) + 12.0;
        for paragraph in [&explanation].into_iter().chain(environment) {
            for line in wrap(paragraph, characters) {
                y += FOOTER_LINE_HEIGHT;
                self.svg.text(MARGIN, y, Text::new(11.0, PALE_INK), &line);
            }
        }
        y
    }
}

fn row_y(row: usize) -> f64 {
    PANELS_Y + row as f64 * ROW_HEIGHT
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map(|first| first.to_uppercase().chain(characters).collect())
        .unwrap_or_default()
}

fn wrap(paragraph: &str, characters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= characters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
