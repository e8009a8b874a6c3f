//! Parses HTML pages to document trees, selects links, headings, code and table cells as a crawler does,
//! removes the pictures, writes the tree and drops it. The pages are rendered from Markdown files before
//! the clock starts. One unit of scale is one pass over the pages.

use std::time::Instant;

use scraper::{ElementRef, Html, Selector};

use crate::Outcome;
use crate::{digest, markdown};

pub fn run(texts: &[String], passes: u32) -> Result<Outcome, String> {
    let pages: Vec<String> = texts.iter().map(|text| page(text)).collect();
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        let selectors = Selectors::new()?;
        for page in &pages {
            checksum = checksum.wrapping_add(scrape(page, &selectors));
        }
    }
    Ok(Outcome { elapsed: start.elapsed(), checksum })
}

/// A site's frame around a document.
fn page(text: &str) -> String {
    let mut title = text.lines().next().unwrap_or_default().to_owned();
    title.retain(|character| character.is_alphanumeric() || character == ' ');
    format!(
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>{title}</title>\
         <link rel=stylesheet href=/style.css></head><body class='page document'>\
         <nav id=top><ul><li><a href=/>Home</a><li><a href=/search class='button wide'>Search</a></ul></nav>\
         <main>{}</main><footer><p>Page &copy; its authors &mdash; <a href=#top>top</a></footer></body></html>",
        markdown::render(text)
    )
}

struct Selectors {
    title: Selector,
    links: Selector,
    headings: Selector,
    code: Selector,
    cells: Selector,
    pictures: Selector,
}

impl Selectors {
    fn new() -> Result<Self, String> {
        let parse =
            |text| Selector::parse(text).map_err(|error| format!("selector {text:?}: {error}"));
        Ok(Self {
            title: parse("head > title")?,
            links: parse("main a[href], nav li > a.button")?,
            headings: parse("h1, h2, h3, h4")?,
            code: parse("pre > code")?,
            cells: parse("table td, ul > li:first-child")?,
            pictures: parse("img[src]")?,
        })
    }
}

fn scrape(page: &str, selectors: &Selectors) -> u64 {
    let mut document = Html::parse_document(page);
    let texts = |selector| -> Vec<String> {
        document.select(selector).map(|element| element.text().collect()).collect()
    };
    let links: Vec<(String, String)> = document
        .select(&selectors.links)
        .filter_map(|link| Some((link.attr("href")?.to_owned(), link.inner_html())))
        .collect();
    let found =
        [&selectors.title, &selectors.headings, &selectors.code, &selectors.cells].map(texts);
    let pictures: Vec<_> =
        document.select(&selectors.pictures).map(|picture: ElementRef| picture.id()).collect();
    for picture in &pictures {
        if let Some(mut node) = document.tree.get_mut(*picture) {
            node.detach();
        }
    }
    // Not its hash: in which order the attributes of an element are written is not laid down.
    let written = document.html().len() as u64;
    digest::of(&links).wrapping_add(digest::of(&found)).wrapping_add(written)
}
