use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::census::testing::made_up;

fn json_of(stats: &Stats) -> Value {
    let mut text = String::new();
    stats.write_json(&mut text).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn prometheus_of(stats: &Stats) -> String {
    let mut text = String::new();
    stats.write_prometheus(&mut text).unwrap();
    text
}

#[test]
fn numbers_have_commas_between_groups() {
    let cases = [
        (0, "0"),
        (7, "7"),
        (100, "100"),
        (999, "999"),
        (1_000, "1,000"),
        (10_203, "10,203"),
        (1_000_000, "1,000,000"),
        (4_294_967_295, "4,294,967,295"),
    ];
    for (number, text) in cases {
        assert_eq!(Grouped(number).to_string(), text);
    }
    assert_eq!(format!("{:>6}|{:<6}|", Grouped(1_234), Grouped(1_234)), " 1,234|1,234 |");
    let most = Grouped(usize::MAX).to_string();
    assert_eq!(most.replace(',', ""), usize::MAX.to_string());
    assert_eq!(most.split(',').skip(1).map(str::len).max(), Some(3));
}

#[test]
fn the_table_is_that_of_cpython() {
    let expected = "\
Small block threshold = 512, in 64 size classes.

class   size   num pools   blocks in use  avail blocks
-----   ----   ---------   -------------  ------------
    0      8           1             512             0
    5     48           2             117            53
   63    512           1               4             4

# arenas allocated total           =                    7
# arenas reclaimed                 =                    4
# arenas highwater mark            =                    5
# arenas allocated current         =                    3
3 arenas * 262144 bytes/arena      =              786,432

# bytes in allocated blocks        =               11,760
# bytes in available blocks        =                4,592
185 unused pools * 4096 bytes      =              757,760
# bytes lost to pool headers       =               12,288
# bytes lost to quantization       =                   32
# bytes lost to arena alignment    =                    0
Total                              =              786,432

# blocks cached                    =                   21
# bytes in cached blocks           =                1,472

# arenas mapped again              =                    1
# pools purged total               =                1,234
# unused pools without memory      =                  100
100 purged pools * 4096 bytes      =              409,600

# large blocks cached              =                   12
# bytes in cached large blocks     =               34,560
# bytes taken for large blocks     =            7,890,123

# blocks in this thread's cache    =                    9
# bytes in this thread's cache     =                  432
# large blocks in it               =                    2
# bytes in large blocks in it      =                5,120
";
    assert_eq!(made_up().to_string(), expected);
}

#[test]
fn an_unused_heap_has_a_table() {
    let text = Stats::new().to_string();
    assert!(text.contains("------------\n\n# arenas allocated total"), "{text}");
    assert!(
        text.contains("\n0 arenas * 262144 bytes/arena      =                    0\n"),
        "{text}"
    );
}

#[test]
fn json_has_all_fields() {
    let expected = json!({
        "classes": [
            { "block_bytes": 8, "pools": 1, "used_blocks": 512, "free_blocks": 0, "cached_blocks": 0 },
            { "block_bytes": 48, "pools": 2, "used_blocks": 97, "free_blocks": 53, "cached_blocks": 20 },
            { "block_bytes": 512, "pools": 1, "used_blocks": 3, "free_blocks": 4, "cached_blocks": 1 },
        ],
        "arenas": {
            "mapped": 3, "high_water": 5, "mapped_ever": 7, "remapped": 1, "released": 4,
            "unused_pools": 185, "unused_pools_purged": 100, "pools_purged_ever": 1_234,
        },
        "bytes": {
            "arena": 786_432, "used": 10_288, "cached": 1_472, "free": 4_592,
            "unused_pools": 757_760, "headers": 12_288, "quantization": 32,
        },
        "large": { "cached_blocks": 12, "cached_bytes": 34_560, "taken_bytes": 7_890_123 },
        "thread": {
            "cached_blocks": 9, "cached_bytes": 432,
            "large_cached_blocks": 2, "large_cached_bytes": 5_120,
        },
    });
    assert_eq!(json_of(&made_up()), expected);
}

#[test]
fn json_of_an_unused_heap_has_no_classes() {
    let value = json_of(&Stats::new());
    assert_eq!(value["classes"], json!([]));
    assert_eq!(value["bytes"]["arena"], json!(0));
}

#[test]
fn json_keeps_the_largest_number() {
    let mut stats = Stats::new();
    stats.large.taken_bytes = usize::MAX;
    assert_eq!(json_of(&stats)["large"]["taken_bytes"], json!(usize::MAX));
}

fn is_name(text: &str) -> bool {
    text.starts_with("obmalloc_")
        && text.chars().all(|character| character.is_ascii_lowercase() || character == '_')
}

/// The samples by name and labels; each line's name has its help and its type above it, once.
fn samples_of(text: &str) -> BTreeMap<String, usize> {
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    let mut samples = BTreeMap::new();
    let mut current = "";
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && help.ends_with('.') && !help.contains('\\'), "{line}");
            assert!(helped.insert(name), "twice: {line}");
            current = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert_eq!(kind, if name.ends_with("_total") { "counter" } else { "gauge" });
            assert_eq!(typed.insert(name, kind), None, "twice: {line}");
        } else {
            let (series, number) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "class_bytes=\"8\"}"));
            assert_eq!(name, current, "samples of a metric stand together");
            assert!(typed.contains_key(name), "{line}");
            let label = labels.strip_prefix("class_bytes=\"").unwrap().strip_suffix("\"}").unwrap();
            assert!(label.parse::<usize>().unwrap().is_multiple_of(8), "{line}");
            let before = samples.insert(series.to_owned(), number.parse().unwrap());
            assert_eq!(before, None, "twice: {line}");
        }
    }
    for name in typed.keys() {
        let gauge = name.trim_end_matches("_total");
        assert!(gauge == *name || !typed.contains_key(gauge), "{name} and {gauge}");
    }
    samples
}

#[test]
fn every_sample_has_its_number() {
    let samples = samples_of(&prometheus_of(&made_up()));
    let expected = [
        ("arena_bytes", 786_432),
        ("used_bytes", 10_288),
        ("cached_bytes", 1_472),
        ("free_bytes", 4_592),
        ("unused_pool_bytes", 757_760),
        ("header_bytes", 12_288),
        ("quantization_bytes", 32),
        ("mapped_arenas", 3),
        ("high_water_arenas", 5),
        ("arenas_mapped_total", 7),
        ("arenas_remapped_total", 1),
        ("arenas_released_total", 4),
        ("unused_pools", 185),
        ("purged_unused_pools", 100),
        ("pools_purged_total", 1_234),
        ("large_cached_blocks", 12),
        ("large_cached_bytes", 34_560),
        ("large_taken_bytes", 7_890_123),
        ("thread_cached_blocks", 9),
        ("thread_cached_bytes", 432),
        ("thread_large_cached_blocks", 2),
        ("thread_large_cached_bytes", 5_120),
        ("class_pools{class_bytes=\"8\"}", 1),
        ("class_pools{class_bytes=\"48\"}", 2),
        ("class_pools{class_bytes=\"512\"}", 1),
        ("class_used_blocks{class_bytes=\"8\"}", 512),
        ("class_used_blocks{class_bytes=\"48\"}", 97),
        ("class_used_blocks{class_bytes=\"512\"}", 3),
        ("class_free_blocks{class_bytes=\"8\"}", 0),
        ("class_free_blocks{class_bytes=\"48\"}", 53),
        ("class_free_blocks{class_bytes=\"512\"}", 4),
        ("class_cached_blocks{class_bytes=\"8\"}", 0),
        ("class_cached_blocks{class_bytes=\"48\"}", 20),
        ("class_cached_blocks{class_bytes=\"512\"}", 1),
    ];
    let expected = expected.map(|(series, number)| (format!("obmalloc_{series}"), number));
    assert_eq!(samples, BTreeMap::from(expected));
}

#[test]
fn an_unused_heap_has_samples_but_of_no_class() {
    let samples = samples_of(&prometheus_of(&Stats::new()));
    assert_eq!(samples.len(), 22);
    assert!(samples.values().all(|number| *number == 0));
}

#[test]
fn what_cannot_be_written_is_an_error() {
    /// Takes so many bytes.
    struct Narrow(usize);
    impl Write for Narrow {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let stats = made_up();
    for bytes in 0..600 {
        assert!(stats.write_json(&mut Narrow(bytes)).is_err());
        assert!(stats.write_prometheus(&mut Narrow(bytes)).is_err());
        assert!(write!(Narrow(bytes), "{stats}").is_err());
    }
    assert!(stats.write_json(&mut Narrow(10_000)).is_ok());
}
