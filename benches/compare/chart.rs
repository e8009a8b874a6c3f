//! The chart: a panel for each metric and profile, side by side, with one group of bars a case.

use crate::case::Case;
use crate::catalogue::{Allocator, Kind};
use crate::options::Options;
use crate::results::{Metric, Results};
use crate::svg::{Svg, Text};

const MARGIN: f64 = 24.0;
const NAMES_WIDTH: f64 = 116.0;
const PANEL_WIDTH: f64 = 270.0;
const PANEL_GAP: f64 = 26.0;
const LEGEND_Y: f64 = 66.0;
const PANELS_Y: f64 = 126.0;
const BAR_HEIGHT: f64 = 11.0;
const GROUP_GAP: f64 = 13.0;
const FOOTER_LINE_HEIGHT: f64 = 15.0;
const FOOTER_CHARACTER_WIDTH: f64 = 6.5;

/// Right of the axis, for the label of the longest bar.
const LABEL_WIDTH: f64 = 40.0;
/// A longer bar is cut, so that one extreme does not flatten all others; its label tells its length.
const LONGEST_BAR: f64 = 4.0;

const INK: &str = "#222222";
const PALE_INK: &str = "#6b6b6b";
const GRID: &str = "#e3e3e3";
const SHADE: &str = "#f4f4f4";

/// A row of the chart, in every panel.
enum Row<'a> {
    Case(&'a Case),
    Mean(Kind),
}

struct Panel<'a> {
    metric: Metric,
    profile: &'a str,
    x: f64,
    /// The ratio at the end of the axis, which starts at zero.
    axis_end: f64,
}

impl Panel<'_> {
    fn x_of(&self, ratio: f64) -> f64 {
        self.x + ratio.min(self.axis_end) / self.axis_end * (PANEL_WIDTH - LABEL_WIDTH)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let step = if self.axis_end < 2.5 { 0.5 } else { 1.0 };
        let count = (self.axis_end / step) as u32;
        (0..=count).map(move |index| f64::from(index) * step)
    }
}

struct Chart<'a> {
    options: &'a Options,
    results: &'a Results,
    rows: Vec<Row<'a>>,
    width: f64,
    svg: Svg,
}

pub fn render(options: &Options, results: &Results, environment: &[String]) -> String {
    let metrics = [Metric::Time, Metric::PeakRss];
    let panels = (metrics.len() * options.profiles.len()) as f64;
    let panels_width = panels * (PANEL_WIDTH + PANEL_GAP) - PANEL_GAP;
    let mut chart = Chart {
        options,
        results,
        rows: rows(options),
        width: MARGIN + NAMES_WIDTH + panels_width + MARGIN,
        svg: Svg::new(),
    };
    chart.draw_header();
    chart.draw_names();
    let mut x = MARGIN + NAMES_WIDTH;
    for metric in metrics {
        let axis_end = chart.axis_end(metric);
        for profile in &options.profiles {
            chart.draw_panel(&Panel { metric, profile, x, axis_end });
            x += PANEL_WIDTH + PANEL_GAP;
        }
    }
    let bottom = chart.draw_footer(environment);
    chart.svg.finish(chart.width, bottom + MARGIN)
}

fn rows(options: &Options) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for kind in Kind::TIMED {
        let of_kind = options.cases.iter().filter(|case| case.kind() == kind);
        let before = rows.len();
        rows.extend(of_kind.map(Row::Case));
        if rows.len() > before {
            rows.push(Row::Mean(kind));
        }
    }
    rows
}

impl Chart<'_> {
    fn draw_header(&mut self) {
        let baseline = self.results.baseline();
        let title = format!("Global allocators compared to {baseline}: shorter is better");
        let style = Text::new(20.0, INK).bold();
        self.svg.text(MARGIN, MARGIN + 16.0, style, &title);
        let mut x = MARGIN;
        for allocator in &self.options.allocators {
            let y = LEGEND_Y - BAR_HEIGHT;
            self.svg.rectangle(x, y, 22.0, BAR_HEIGHT, allocator.colour);
            let style = Text::new(13.0, INK);
            self.svg.text(x + 28.0, LEGEND_Y, style, allocator.name);
            x += 120.0;
        }
    }

    fn draw_names(&mut self) {
        let height = self.group_height();
        for (index, row) in self.rows.iter().enumerate() {
            let y = self.group_y(index);
            let middle = y + height / 2.0;
            let x = MARGIN + NAMES_WIDTH - 10.0;
            let style = Text::new(13.0, INK).anchored("end");
            match row {
                Row::Case(case) => self.svg.text(x, middle + 4.0, style, case.name()),
                Row::Mean(kind) => {
                    let width = self.width - 2.0 * MARGIN;
                    self.svg.rectangle(MARGIN, y, width, height, SHADE);
                    self.svg.text(x, middle - 4.0, style.bold(), "mean of");
                    self.svg.text(x, middle + 11.0, style.bold(), kind.name());
                }
            }
        }
    }

    fn draw_panel(&mut self, panel: &Panel) {
        let title = match panel.metric {
            Metric::Time => format!("Time, {}", panel.profile),
            Metric::PeakRss => format!("Peak resident memory, {}", panel.profile),
        };
        let style = Text::new(14.0, INK).bold();
        self.svg.text(panel.x, PANELS_Y - 26.0, style, &title);
        let bottom = self.group_y(self.rows.len());
        for tick in panel.ticks() {
            let x = panel.x_of(tick);
            let colour = if tick == 1.0 { PALE_INK } else { GRID };
            self.svg.line((x, PANELS_Y - 6.0), (x, bottom), 1.0, colour);
            let style = Text::new(10.0, PALE_INK).anchored("middle");
            self.svg.text(x, PANELS_Y - 9.0, style, &format!("{tick}"));
        }
        for row in 0..self.rows.len() {
            let mut y = self.group_y(row) + GROUP_GAP / 2.0;
            for allocator in &self.options.allocators {
                self.draw_bar(panel, y, allocator, row);
                y += BAR_HEIGHT;
            }
        }
    }

    fn draw_bar(&mut self, panel: &Panel, y: f64, allocator: &Allocator, row: usize) {
        let row = &self.rows[row];
        let label_y = y + BAR_HEIGHT - 2.0;
        let Some(ratio) = self.ratio(panel, allocator.name, row) else {
            let style = Text::new(9.5, PALE_INK).with_halo();
            self.svg.text(panel.x + 3.0, label_y, style, "no result");
            return;
        };
        let label = self.label(panel, allocator.name, row, ratio);
        let range = self.range(panel, allocator.name, row);
        let height = BAR_HEIGHT - 1.0;
        let mut end = panel.x_of(ratio);
        self.svg.rectangle(panel.x, y, end - panel.x, height, allocator.colour);
        if let Some((fastest, slowest)) = range {
            let middle = y + height / 2.0;
            let (from, to) = (panel.x_of(fastest), panel.x_of(slowest));
            self.svg.line((from, middle), (to, middle), 1.2, INK);
            end = end.max(to);
        }
        let style = Text::new(9.5, INK).with_halo();
        self.svg.text(end + 3.0, label_y, style, &label);
    }

    /// The absolute value for the baseline, as its ratio says nothing; the ratio for the others.
    fn label(&self, panel: &Panel, allocator: &str, row: &Row, ratio: f64) -> String {
        if let Row::Case(case) = row
            && allocator == self.results.baseline()
            && let Some(summary) = self.results.summary(panel.profile, allocator, case)
            && let Some(value) = panel.metric.of(&summary)
        {
            return match panel.metric {
                Metric::Time => format!("{:.0} ms", value * 1e3),
                Metric::PeakRss => format!("{:.1} MiB", value / f64::from(1 << 20)),
            };
        }
        format!("{ratio:.2}")
    }

    fn ratio(&self, panel: &Panel, allocator: &str, row: &Row) -> Option<f64> {
        let &Panel { metric, profile, .. } = panel;
        let cases = &self.options.cases;
        match *row {
            Row::Case(case) => self.results.ratio(metric, profile, allocator, case),
            Row::Mean(kind) => self.results.mean_ratio(metric, profile, allocator, cases, kind),
        }
    }

    /// The fastest and the slowest run, relative to the median of the baseline.
    fn range(&self, panel: &Panel, allocator: &str, row: &Row) -> Option<(f64, f64)> {
        let (Row::Case(case), Metric::Time) = (row, panel.metric) else {
            return None;
        };
        let of = |allocator| self.results.summary(panel.profile, allocator, case);
        let (summary, baseline) = (of(allocator)?, of(self.results.baseline())?);
        Some((summary.fastest / baseline.time, summary.slowest / baseline.time))
    }

    /// One axis for all panels of a metric, so that profiles can be compared by eye.
    fn axis_end(&self, metric: Metric) -> f64 {
        let mut longest = 1.0_f64;
        for profile in &self.options.profiles {
            let panel = Panel { metric, profile, x: 0.0, axis_end: LONGEST_BAR };
            for allocator in &self.options.allocators {
                for row in &self.rows {
                    let ratio = self.ratio(&panel, allocator.name, row);
                    longest = longest.max(ratio.unwrap_or_default());
                }
            }
        }
        longest.min(LONGEST_BAR)
    }

    fn draw_footer(&mut self, environment: &[String]) -> f64 {
        let baseline = self.results.baseline();
        let explanation = format!(
            "Bars: median (rounds: {}) relative to {baseline}, whose own bar tells the absolute value; \
             cut at {LONGEST_BAR}. Black lines: fastest to slowest run. Means: geometric.",
            self.options.rounds
        );
        let characters = ((self.width - 2.0 * MARGIN) / FOOTER_CHARACTER_WIDTH) as usize;
        let mut y = self.group_y(self.rows.len()) + 12.0;
        for paragraph in [&explanation].into_iter().chain(environment) {
            for line in wrap(paragraph, characters) {
                y += FOOTER_LINE_HEIGHT;
                self.svg.text(MARGIN, y, Text::new(11.0, PALE_INK), &line);
            }
        }
        y
    }

    fn group_height(&self) -> f64 {
        self.options.allocators.len() as f64 * BAR_HEIGHT + GROUP_GAP
    }

    fn group_y(&self, row: usize) -> f64 {
        PANELS_Y + row as f64 * self.group_height()
    }
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
