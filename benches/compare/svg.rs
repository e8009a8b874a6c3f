//! The few SVG elements that the charts need.

use std::fmt::Write;

#[derive(Clone, Copy)]
pub struct Text {
    pub size: f64,
    pub colour: &'static str,
    pub anchor: &'static str,
    pub weight: &'static str,
}

impl Text {
    pub const fn new(size: f64, colour: &'static str) -> Self {
        Self { size, colour, anchor: "start", weight: "normal" }
    }

    pub const fn anchored(self, anchor: &'static str) -> Self {
        Self { anchor, ..self }
    }

    pub const fn bold(self) -> Self {
        Self { weight: "bold", ..self }
    }
}

pub struct Svg {
    elements: String,
}

impl Svg {
    pub fn new() -> Self {
        Self { elements: String::new() }
    }

    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        self.element(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
        ));
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, colour: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.element(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"/>"#
        ));
    }

    /// The shape that `outline` draws around the origin, moved to a place.
    pub fn path(&mut self, (x, y): (f64, f64), outline: &str, colour: &str) {
        self.element(format_args!(
            r##"<path transform="translate({x:.1} {y:.1})" d="{outline}" fill="{colour}" stroke="#ffffff" stroke-width="0.6"/>"##
        ));
    }

    /// Writes with the baseline at `y`.
    pub fn text(&mut self, x: f64, y: f64, style: Text, text: &str) {
        let Text { size, colour, anchor, weight } = style;
        let text = escape(text);
        self.element(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}">{text}</text>"#
        ));
    }

    pub fn finish(self, width: f64, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"Helvetica, Arial, DejaVu Sans, sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.elements
        )
    }

    fn element(&mut self, element: std::fmt::Arguments) {
        writeln!(self.elements, "{element}").expect("writing to a String does not fail");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
