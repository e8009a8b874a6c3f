//! How much of something was had.

/// Says how much was had of something, and asserts that it was at least so many percent.
#[track_caller]
pub fn assert_percent(what: &str, had: usize, of: usize, least: usize) {
    println!("{what}: {:.1} % of {of}", had as f64 * 100.0 / of as f64);
    assert!(had >= of / 100 * least, "{what}: {had} of {of}");
}
