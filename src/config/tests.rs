use super::*;

fn with(name: &str, value: &str) -> Result<Config, &'static str> {
    Config::DEFAULT.with_variable(name.as_bytes(), value.as_bytes())
}

#[test]
fn numbers_of_bytes_are_read() {
    let cases =
        [("0", 0), ("1", 1), ("0012", 12), ("64K", 64 << 10), ("3M", 3 << 20), ("2G", 2 << 30)];
    for (text, bytes) in cases {
        assert_eq!(
            with("CACHE_BYTES", text),
            Ok(Config::DEFAULT.with_cache_bytes(bytes)),
            "{text}"
        );
    }
    let most = usize::MAX.to_string();
    assert_eq!(with("CACHE_BYTES", &most).map(|config| config.cache_bytes()), Ok(usize::MAX));
}

#[test]
fn what_is_no_number_of_bytes_is_refused() {
    let beyond = format!("{}0", usize::MAX);
    for text in [
        "",
        "K",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1k",
        "1KB",
        "1KM",
        "0x10",
        "1.5M",
        "\u{663}",
        &beyond,
        "99999999999999999G",
    ] {
        assert!(with("CACHE_BYTES", text).is_err(), "{text:?}");
    }
}

#[test]
fn tuning_is_off_early_or_full() {
    let tuning = |text| with("SYSTEM_TUNING", text).map(|config| config.system_tuning());
    assert_eq!(tuning("off"), Ok(SystemTuning::Off));
    assert_eq!(tuning("early"), Ok(SystemTuning::Early));
    assert_eq!(tuning("full"), Ok(SystemTuning::Full));
    for text in ["", "0", "1", "Off", "on", "early "] {
        assert!(with("SYSTEM_TUNING", text).is_err(), "{text:?}");
    }
}

#[test]
fn all_that_a_static_may_say_an_environment_may_say() {
    let milliseconds = Duration::from_millis;
    let default = Config::DEFAULT;
    let cases = [
        ("LIMIT", "1G", default.with_limit(1 << 30)),
        ("LIMIT", "0", default.with_limit(0)),
        ("BACKGROUND_PURGE", "500", default.with_background_purge(milliseconds(500))),
        ("BACKGROUND_PURGE", "0", default),
        ("BACKGROUND_PURGE", "1", default.with_background_purge(BACKGROUND_PURGE_MIN)),
        ("HUGE_PAGES", "64M", default.with_huge_pages(64 << 20)),
        ("STATS", "1", default.with_stats_at_exit(true)),
        ("STATS", "0", default),
    ];
    for (name, value, expected) in cases {
        assert_eq!(with(name, value), Ok(expected), "{name}={value}");
    }
    for (name, value) in [
        ("LIMIT", "1g"),
        ("BACKGROUND_PURGE", "1s"),
        ("BACKGROUND_PURGE", "1K"),
        ("BACKGROUND_PURGE", "4294967296"),
        ("BACKGROUND_PURGE", ""),
        ("HUGE_PAGES", "yes"),
        ("STATS", "yes"),
    ] {
        assert!(with(name, value).is_err(), "{name}={value}");
    }
}

#[test]
fn bounds_are_whole_arenas() {
    assert_eq!(Config::DEFAULT.arena_bounds(), ArenaBounds::NONE);
    let hook = PressureHook { soft_limit: ARENA_BYTES, call: |_| {} };
    let config = Config::DEFAULT
        .with_limit(3 * ARENA_BYTES - 1)
        .with_pressure(hook)
        .with_huge_pages(0)
        .with_background_purge(Duration::from_nanos(1));
    let bounds = ArenaBounds { most: Some(2), soft: Some(1), huge_from: Some(0), is_watched: true };
    assert_eq!(config.arena_bounds(), bounds);
}

#[test]
fn unknown_names_are_refused() {
    for name in ["", "CACHE", "CACHE_BYTES ", "cache_bytes", "CACHE_BYTES2"] {
        assert!(with(name, "1").is_err(), "{name:?}");
    }
}

/// Bytes that two full-grown magazines of each class hold.
fn small_bytes(limits: CacheLimits) -> usize {
    let sizes = (ALIGNMENT..=SMALL_MAX).step_by(ALIGNMENT);
    sizes.map(|bytes| 2 * limits.magazine_blocks(bytes) as usize * bytes).sum()
}

#[test]
fn a_thread_keeps_what_it_may() {
    for bytes in [64 << 10, 100_000, 256 << 10, 1 << 20, CACHE_BYTES_DEFAULT, 1 << 30] {
        let limits = Config::DEFAULT.with_cache_bytes(bytes).cache_limits();
        // A class keeps at least one block in each magazine, which exceeds the smallest limits.
        let least = small_bytes(CacheLimits::NONE);
        assert!(small_bytes(limits) + limits.large_bytes <= bytes + least, "{bytes}: {limits:?}");
    }
}

#[test]
fn magazines_are_those_that_were_measured_by_default() {
    let limits = Config::DEFAULT.cache_limits();
    for (block_bytes, blocks) in
        [(8, 512), (32, 128), (40, 102), (64, 64), (256, 64), (264, 62), (512, 32)]
    {
        assert_eq!(limits.magazine_blocks(block_bytes), blocks, "{block_bytes}");
    }
    let more = Config::DEFAULT.with_cache_bytes(usize::MAX).cache_limits();
    assert_eq!(small_bytes(more), small_bytes(limits));
}
