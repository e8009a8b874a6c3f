//! The law of the house. The `mod` lines of `lib.rs`, read from the top, are the floors, and a file
//! names only floors at or above its own; what touches the platform, the model checker and shared
//! state stays on the floors made for it; files and functions stay short enough to be read at once.
//! The compiler enforces none of this, and each exception would look reasonable alone.
//!
//! Made-up houses that break the law in one place each show that every rule finds something.

use obmalloc::Obmalloc;

#[path = "common/house.rs"]
mod house;

use house::{House, SAFE_FILES, Source};

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const NONE: [&str; 0] = [];

#[test]
fn the_house_keeps_its_law() {
    let house = House::of_this_crate();
    assert!(!house.floors.is_empty(), "lib.rs has no mod lines");
    let violations = house.violations();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// A house of three floors, with one more file.
fn made_up_house(path: &str, text: &str) -> House {
    let mut files = vec![
        (
            "lib.rs",
            "//! Docs.\n// Platform.\nmod os;\n#[cfg(loom)]\nuse loom as _;\nmod thread;\nmod top;",
        ),
        ("os.rs", "#[cfg(target_os = \"linux\")]\nmod linux;\n#[cfg(test)]\nmod tests;"),
        ("thread.rs", "use crate::os;\nthread_local! { static CACHE: u8 = const { 0 }; }"),
        ("top.rs", "use crate::{os::{self, Pages}, thread};\npub(crate) fn top() {}"),
    ];
    files.retain(|(known, _)| *known != path);
    files.push((path, text));
    House::new(files.into_iter().map(|(path, text)| Source::new(path, text)).collect())
}

fn assert_one_violation(path: &str, text: &str, expected: &str) {
    let violations = made_up_house(path, text).violations();
    assert_eq!(violations, [format!("{path}: {expected}")], "in:\n{text}");
}

#[test]
fn a_lawful_house_is_accepted() {
    let long = "fn just_short_enough() {\n".to_owned() + &"();\n".repeat(68) + "}\n";
    let lawful = [
        ("top.rs", "//! crate::no_floor\nconst TEXT: &'static str = \"crate::no_floor\";"),
        ("top.rs", "use super::os;\nmod inner { use super::super::thread; }"),
        ("top/part.rs", "use super::private;\nuse crate::top::other;\npub(super) struct A;"),
        ("os.rs", "macro_rules! check { () => { $crate::os::fail() }; }\n#[cfg(test)] mod tests;"),
        ("os/tests.rs", "use super::*;\nstatic COUNTER: u8 = 0;"),
        ("os/linux.rs", "#[used]\nstatic AT_LOAD: extern \"C\" fn() = f;"),
        ("top.rs", &long),
    ];
    for (path, text) in lawful {
        let violations = made_up_house(path, text).violations();
        assert_eq!(violations, NONE, "in:\n{text}");
    }
}

#[test]
fn a_name_from_further_down_is_found() {
    let below = "line 1 names crate::top, no floor above";
    for text in [
        "use crate::top::X;",
        "use crate::{os, top};",
        "use crate::{os::X, top::{Y, Z}};",
        "use super::top;",
        "use super::{os, top::X};",
        "fn f() { let x: Option<crate::top::X> = g(|| crate::os::h()); }",
        "mod inner { use super::super::top; }",
        "call!(crate::top::x());",
        "macro_rules! m { () => { $crate::top::x() }; }",
    ] {
        assert_one_violation("thread.rs", text, below);
    }
    assert_one_violation("os/linux.rs", "use super::super::top;", below);
    assert_one_violation("os/linux.rs", "use crate::top;", below);
    assert_one_violation("os/tests.rs", "use crate::top;", below);
    assert_one_violation(
        "os.rs",
        "use crate::thread::X;",
        "line 1 names crate::thread, no floor above",
    );
    assert_one_violation("top.rs", "use crate::Root;", "line 1 names crate::Root, no floor above");
    assert_one_violation("top.rs", "\nuse super::*;", "line 2 names crate::*, no floor above");
    assert_one_violation("attic.rs", "", "on no floor");
}

#[test]
fn a_floor_without_a_file_is_found() {
    let house = made_up_house("lib.rs", "mod os;\nmod thread;\nmod top;\nmod roof;");
    assert_eq!(house.violations(), ["roof: a floor without a file"]);
}

#[test]
fn a_long_file_or_function_is_found() {
    assert_one_violation("top.rs", &"//\n".repeat(501), "501 lines");
    let body = "();\n".repeat(69);
    for (before, after) in [
        ("fn long() {\n", "}"),
        ("impl X { fn long() {\n", "} }"),
        ("trait X { fn long() {\n", "} }"),
        ("mod inner { impl X { pub const unsafe fn long() {\n", "} } }"),
        ("const _: () = { fn long() {\n", "} };"),
    ] {
        let text = format!("{before}{body}{after}");
        assert_one_violation("top.rs", &text, "line 1: fn long has 71 lines");
    }
}

#[test]
fn a_condition_on_another_floor_is_found() {
    for (text, name) in [
        ("#[cfg(target_os = \"linux\")] fn f() {}", "target_os"),
        ("#[cfg(all(test, not(unix)))] fn f() {}", "unix"),
        ("#[cfg_attr(windows, inline)] fn f() {}", "windows"),
        ("fn f() { if cfg!(target_pointer_width = \"64\") {} }", "target_pointer_width"),
        ("call!(if cfg!(unix) {});", "unix"),
        ("#[cfg(loom)] fn f() {}", "loom"),
    ] {
        assert_one_violation("top.rs", text, &format!("line 1 depends on cfg({name})"));
    }
    assert_one_violation("os.rs", "#[cfg(loom)] fn f() {}", "line 1 depends on cfg(loom)");
    assert_one_violation(
        "lib.rs",
        "#[cfg(unix)] mod os;\nmod thread;\nmod top;",
        "line 1 depends on cfg(unix)",
    );
}

#[test]
fn a_static_on_another_floor_is_found() {
    for text in [
        "static COUNTER: AtomicUsize = AtomicUsize::new(0);",
        "fn f() { static mut HIDDEN: u8 = 0; }",
        "thread_local! { static CACHE: u8 = const { 0 }; }",
    ] {
        assert_one_violation("top.rs", text, "line 1 has a static");
    }
    let used = "#[used]\nstatic AT_LOAD: extern \"C\" fn() = f;";
    assert_one_violation("top.rs", used, "line 2 has a static");
    assert_one_violation("os/linux.rs", "static STATE: u8 = 0;", "line 1 has a static");
    assert_one_violation("os/linux.rs", "#[used] static mut STATE: u8 = 0;", "line 1 has a static");
}

#[test]
fn a_safe_file_that_does_not_say_so_is_found() {
    for path in SAFE_FILES {
        let lib = format!("mod {};", path.trim_end_matches(".rs"));
        let violations_with = |text: &str| {
            House::new(vec![Source::new("lib.rs", &lib), Source::new(path, text)]).violations()
        };
        assert_eq!(violations_with("#![forbid(unsafe_code)]"), NONE);
        let expected = format!("{path}: does not forbid unsafe code");
        assert_eq!(violations_with("#![deny(unsafe_code)]"), [expected]);
    }
}
