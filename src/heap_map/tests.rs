use std::collections::BTreeMap;

use super::fold::{Cell, Ground, fold};
use super::testing::{Chance, Pool, heap};
use super::*;

/// An element, as far as these tests look at it.
#[derive(Debug)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    /// Names and classes of the elements around it, the innermost last.
    inside: Vec<String>,
}

impl Element {
    fn class(&self) -> &str {
        self.attributes.get("class").map_or("", String::as_str)
    }

    fn number(&self, attribute: &str) -> usize {
        let text = self.attributes.get(attribute);
        text.map_or(0, |text| text.parse().unwrap_or_else(|error| panic!("{error}: {self:?}")))
    }
}

/// The attributes of a tag, each once and in quotes, whose values need no escape.
fn attributes_of(mut text: &str) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.trim_start().split_once("=\"").expect(text);
        let (value, rest) = rest.split_once('"').expect(text);
        assert!(rest.is_empty() || rest.starts_with(' '), "{text}");
        assert!(!name.contains(char::is_whitespace) && !value.contains(['<', '&']), "{text}");
        assert_eq!(attributes.insert(name.to_owned(), value.to_owned()), None, "twice: {text}");
        text = rest;
    }
    attributes
}

/// The elements of a well-formed document, and all of its text.
fn parse(document: &str) -> (Vec<Element>, String) {
    let (mut elements, mut text, mut open) = (Vec::new(), String::new(), Vec::new());
    let mut rest = document.trim_end();
    while let Some((before, behind)) = rest.split_once('<') {
        assert!(!before.contains(['&', '>']), "{before}");
        assert!(!open.is_empty() || before.is_empty(), "text outside of the document: {before}");
        text.push_str(before);
        let (tag, behind) = behind.split_once('>').expect("an end of each tag");
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            let (opened, _): (String, String) = open.pop().expect("as many ends as starts");
            assert_eq!(opened, name);
            text.push('\n');
            continue;
        }
        assert!(!open.is_empty() || elements.is_empty(), "a second root: {tag}");
        let (start, is_closed) = match tag.strip_suffix('/') {
            Some(start) => (start, true),
            None => (tag, false),
        };
        let (name, attributes) = start.split_once(' ').unwrap_or((start, ""));
        let inside = open.iter().map(|(name, class)| format!("{name}.{class}")).collect();
        let attributes = attributes_of(attributes);
        let element = Element { name: name.to_owned(), attributes, inside };
        if !is_closed {
            open.push((name.to_owned(), element.class().to_owned()));
        }
        elements.push(element);
    }
    assert!(open.is_empty() && rest.is_empty(), "left open: {open:?}, left over: {rest}");
    (elements, text)
}

fn of_class<'a>(elements: &'a [Element], class: &str) -> Vec<&'a Element> {
    elements.iter().filter(|element| element.class() == class).collect()
}

/// The columns that hatched cells take, in all rows.
fn purged_columns(elements: &[Element]) -> usize {
    let purged = of_class(elements, "purged");
    purged.iter().map(|element| element.number("width")).sum::<usize>() / sheet::CELL_WIDTH
}

/// Rectangles in the cells of pools, of any row.
fn pool_rectangles(elements: &[Element]) -> Vec<&Element> {
    let is_in_pools = |element: &&Element| element.inside.iter().any(|name| name == "g.pools");
    elements.iter().filter(is_in_pools).filter(|element| element.name == "rect").collect()
}

#[test]
fn the_checker_of_documents_finds_what_is_wrong() {
    assert_eq!(parse("<a><b c=\"d\"/>e</a>\n").0.len(), 2);
    let wrong = [
        "<a>",
        "</a>",
        "<a></b>",
        "<a/><b/>",
        "<a>&</a>",
        "<a b=\"1\" b=\"2\"/>",
        "<a b=1/>",
        "x<a/>",
        "<a/>x",
        "<a b=\"<\"/>",
    ];
    for document in wrong {
        let document = document.to_owned();
        assert!(std::panic::catch_unwind(|| parse(&document)).is_err(), "{document}");
    }
}

#[test]
fn a_cell_has_two_bytes() {
    assert_eq!(size_of::<PoolCell>(), 2);
}

#[test]
fn only_a_full_pool_looks_full_and_only_an_empty_one_empty() {
    for capacity in 1..=512 {
        let fills: Vec<u8> =
            (0..=capacity).map(|live| PoolCell::of(1, live, capacity).fill).collect();
        assert!(fills.is_sorted());
        for (live, fill) in fills.iter().enumerate() {
            assert_eq!(*fill == 0, live == 0, "{live} of {capacity}");
            assert_eq!(*fill == FILL_MAX, live == capacity as usize, "{live} of {capacity}");
        }
    }
    assert_eq!(PoolCell::of(1, 256, 512).fill, FILL_MAX / 2);
    assert_eq!(PoolCell::of(64, 9, 8).fill, FILL_MAX);
    assert_eq!(PoolCell::of(64, 0, 0).fill, 0);
}

#[test]
fn what_has_no_class_is_either_unused_or_purged() {
    assert_eq!(PoolCell::unused(), PoolCell::EMPTY);
    assert!(!PoolCell::unused().has_class() && !PoolCell::unused().is_purged());
    assert!(!PoolCell::purged().has_class() && PoolCell::purged().is_purged());
    for live in 0..=8 {
        let cell = PoolCell::of(64, live, 8);
        assert!(cell.has_class() && !cell.is_purged());
    }
}

#[test]
fn colours_get_lighter_with_the_size_of_blocks() {
    let lightness = |number: u8| {
        let colours::Colour([red, green, blue]) = colours::of_class(number);
        0.2126 * f64::from(red) + 0.7152 * f64::from(green) + 0.0722 * f64::from(blue)
    };
    for number in 1..64 {
        assert_ne!(colours::of_class(number), colours::of_class(number + 1));
        assert!(lightness(number) < lightness(number + 1), "{number}");
    }
    assert_eq!(colours::of_class(64).to_string(), "#fca636");
    assert_eq!(colours::of_class(0), colours::of_class(65));
}

#[test]
fn an_empty_heap_has_a_picture() {
    let (elements, text) = parse(&render(&[], &Stats::new()));
    assert!(text.contains("no arenas"), "{text}");
    assert!(of_class(&elements, "arena").is_empty() && of_class(&elements, "grid").is_empty());
    assert_eq!(of_class(&elements, "legend").len(), 1);
}

#[test]
fn the_document_stands_alone() {
    let (rows, stats) = heap(3, |_, _| Pool::Class(6, 500));
    let document = render(&rows, &stats);
    let (elements, text) = parse(&document);
    let root = &elements[0];
    assert_eq!(root.name, "svg");
    assert_eq!(root.attributes["xmlns"], "http://www.w3.org/2000/svg");
    let (width, height) = (root.number("width"), root.number("height"));
    assert_eq!(root.attributes["viewBox"], format!("0 0 {width} {height}"));
    assert!(document.is_ascii() && document.matches("http").count() == 1);
    let direct = |name: &str| {
        let is_direct = |element: &&Element| element.name == name && element.inside == ["svg."];
        elements.iter().filter(is_direct).count()
    };
    assert_eq!((direct("title"), direct("desc")), (1, 1));
    assert!(elements.iter().all(|element| !["script", "style", "image"].contains(&&*element.name)));
    assert_eq!(of_class(&elements, "paper").len(), 1);
    for label in ["8", "64", "128", "256", "384", "512 B", "block size", "50 %"] {
        assert!(text.lines().any(|line| line == label), "{label} in {text}");
    }
}

#[test]
fn each_arena_has_its_row_in_order_of_address() {
    let (mut rows, stats) = heap(5, |_, place| Pool::Class(1 + place as u8, 1000));
    rows.reverse();
    let document = render(&rows, &stats);
    let (elements, text) = parse(&document);
    let arenas = of_class(&elements, "arena");
    assert_eq!(arenas.len(), 5);
    assert_eq!(of_class(&elements, "headers").len(), 5);
    let labels: Vec<&str> = text.lines().filter(|line| line.starts_with("0x")).collect();
    let expected = ["0x7f1234000000", "0x7f1234040000", "0x7f1234080000", "0x7f12340c0000"];
    assert_eq!((&labels[..4], labels.len()), (&expected[..], 5));
    // Each pool is full and of a class of its own.
    let rectangles = pool_rectangles(&elements);
    assert_eq!(rectangles.len(), 5 * BLOCK_POOLS_PER_ARENA);
    assert!(rectangles.iter().all(|cell| cell.number("height") == usize::from(FILL_MAX)));
    for (index, cell) in rectangles.iter().enumerate() {
        assert_eq!(cell.number("x"), 1 + index % BLOCK_POOLS_PER_ARENA);
        assert_eq!(cell.number("width"), 1);
    }
}

#[test]
fn equal_neighbours_are_drawn_as_one() {
    let (rows, stats) = heap(1, |_, place| match place {
        0..20 => Pool::Class(6, 1000),
        20..30 => Pool::Class(6, 500),
        30..40 => Pool::Purged,
        40..50 => Pool::Unused,
        50..60 => Pool::Purged,
        _ => Pool::Class(64, 0),
    });
    let (elements, text) = parse(&render(&rows, &stats));
    let spans: Vec<(usize, usize, usize, usize)> = pool_rectangles(&elements)
        .iter()
        .map(|cell| {
            (cell.number("x"), cell.number("y"), cell.number("width"), cell.number("height"))
        })
        .collect();
    assert_eq!(spans, [(1, 0, 20, 20), (21, 0, 10, 20), (21, 11, 10, 9), (61, 0, 3, 20)]);
    let hatched: Vec<(usize, usize)> = of_class(&elements, "purged")
        .iter()
        .map(|cell| (cell.number("x") / 12, cell.number("width") / 12))
        .collect();
    assert_eq!(hatched, [(31, 10), (51, 10)]);
    for title in ["48 B, 100 % in use", "48 B, 45 % in use", "512 B, 0 % in use", "purged"] {
        assert!(text.contains(title), "{title} in {text}");
    }
}

#[test]
fn totals_stand_above_the_map() {
    let (rows, stats) = heap(4, |arena, _| match arena {
        0 => Pool::Class(64, 1000),
        1 => Pool::Class(64, 0),
        2 => Pool::Unused,
        _ => Pool::Purged,
    });
    let (_, text) = parse(&render(&rows, &stats));
    assert!(text.contains("Heap map: 1.0 MiB in arenas"), "{text}");
    for part in ["used", "free", "unused pools", "purged"] {
        assert!(text.contains(&format!("252.0 KiB {part} (24.6 %)")), "{part} in {text}");
        assert!(text.contains(&format!("\n{part}\n252.0 KiB24.6 %\n")), "{part} in {text}");
    }
    assert!(text.contains("headers\n16.0 KiB1.6 %\n"), "{text}");
    assert!(text.contains("cached\n0 B0.0 %\n"), "{text}");
}

#[test]
fn more_arenas_than_rows_are_folded() {
    for (arenas, rows_expected, label) in
        [(1, 1, None), (128, 128, None), (129, 65, Some(" x 2")), (4096, 128, Some(" x 32"))]
    {
        let (rows, stats) = heap(arenas, |_, _| Pool::Class(6, 1000));
        let (elements, text) = parse(&render(&rows, &stats));
        assert_eq!(of_class(&elements, "arena").len(), rows_expected);
        assert_eq!(pool_rectangles(&elements).len(), rows_expected, "a row of equals is one");
        let first = text.lines().find(|line| line.starts_with("0x"));
        let expected = format!("0x7f1234000000{}", label.unwrap_or(""));
        assert_eq!(first, Some(&*expected));
        if arenas == 129 {
            assert!(text.contains("0x7f1236000000 x 1\n"), "{text}");
        }
    }
}

#[test]
fn a_folded_cell_shows_what_most_of_its_pools_are() {
    let folded = |pools: &[PoolCell]| {
        let row = |pool: &PoolCell| ArenaRow { address: 0, pools: [*pool; BLOCK_POOLS_PER_ARENA] };
        let rows: Vec<ArenaRow> = pools.iter().map(row).collect();
        fold(&rows.iter().collect::<Vec<_>>())[BLOCK_POOLS_PER_ARENA - 1]
    };
    let (unused, purged) = (PoolCell::unused(), PoolCell::purged());
    let (full, other) = (PoolCell::of(6, 85, 85), PoolCell::of(64, 8, 8));
    let cases: [(&[PoolCell], Ground, u8, u8); 9] = [
        (&[unused], Ground::Unused, 0, 0),
        (&[purged], Ground::Purged, 0, 0),
        (&[full], Ground::Class, 6, 20),
        (&[full, purged], Ground::Class, 6, 10),
        (&[unused, purged, purged], Ground::Purged, 0, 0),
        (&[unused, purged], Ground::Unused, 0, 0),
        (&[full, purged, purged, purged], Ground::Purged, 6, 5),
        (&[other, full, other, full], Ground::Class, 6, 20),
        (&[other, full, other, unused], Ground::Class, 64, 15),
    ];
    for (pools, ground, class_number, fill) in cases {
        assert_eq!(folded(pools), Cell { ground, class_number, fill }, "{pools:?}");
    }
    let nearly_unused = [&[full][..], &[unused; 99]].concat();
    assert_eq!(folded(&nearly_unused).fill, 1);
    let nearly_full = [&[full; 99][..], &[unused]].concat();
    assert_eq!(folded(&nearly_full).fill, FILL_MAX - 1);
}

#[test]
fn hatching_covers_what_is_purged() {
    let mut chance = Chance::new();
    let (rows, stats) = heap(64, |_, _| match chance.below(3) {
        0 => Pool::Purged,
        1 => Pool::Unused,
        _ => Pool::Class(1 + chance.below(64) as u8, chance.below(1001)),
    });
    let (elements, _) = parse(&render(&rows, &stats));
    assert_eq!(purged_columns(&elements), stats.arenas.unused_pools_purged);
}

#[test]
fn a_large_heap_without_order_fits_into_two_megabytes() {
    let mut chance = Chance::new();
    let (rows, stats) = heap(4096, |_, _| match chance.below(8) {
        0 => Pool::Purged,
        _ => Pool::Class(1 + chance.below(64) as u8, chance.below(1001)),
    });
    let document = render(&rows, &stats);
    assert!(document.len() < 2_000_000, "{}", document.len());
    let (elements, text) = parse(&document);
    assert_eq!(of_class(&elements, "arena").len(), 128);
    assert!(text.contains("Heap map: 1.0 GiB in arenas") && text.contains("4,096 arenas"));
}
