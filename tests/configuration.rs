//! What a program and its user choose: the static's methods, the environment's precedence, what is said
//! of variables that mean nothing, and that the system allocator's thresholds are what was chosen.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

use std::thread;

use obmalloc::Obmalloc;

#[path = "common/child.rs"]
#[expect(dead_code, reason = "every process here has an environment of its own")]
mod child;
#[path = "common/rss.rs"]
mod rss;

use child::Ended;

const CACHE_BYTES: usize = 3 << 20;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new().with_cache_bytes(CACHE_BYTES).with_system_tuning(false);

fn print_config() {
    // From several threads, none of which need be the first.
    let configs: Vec<_> = (0..4).map(|_| thread::spawn(|| GLOBAL.config())).collect();
    for config in configs {
        assert_eq!(config.join().expect("no panic"), GLOBAL.config());
    }
    println!("{} {}", GLOBAL.config().cache_bytes(), GLOBAL.config().system_tuning());
}

/// The two values in force in a process with these variables, and what it wrote to stderr.
#[track_caller]
fn in_force(test: &str, variables: &[(&str, &str)]) -> (String, String) {
    let Ended { status, stdout, stderr } = child::run_with(test, variables, print_config);
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    let said = stdout.lines().find(|line| line.ends_with("true") || line.ends_with("false"));
    (said.expect("the configuration").to_owned(), stderr)
}

fn complaints(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("obmalloc: ")).collect()
}

#[test]
fn what_the_static_says_is_in_force() {
    let (said, stderr) = in_force("what_the_static_says_is_in_force", &[]);
    assert_eq!(said, format!("{CACHE_BYTES} false"));
    assert!(complaints(&stderr).is_empty(), "{stderr}");
}

#[test]
fn the_environment_has_precedence() {
    let variables = [("OBMALLOC_CACHE_BYTES", "64K"), ("OBMALLOC_SYSTEM_TUNING", "1")];
    let (said, stderr) = in_force("the_environment_has_precedence", &variables);
    assert_eq!(said, "65536 true");
    assert!(complaints(&stderr).is_empty(), "{stderr}");
}

#[test]
fn what_means_nothing_is_reported_once() {
    let variables = [
        ("OBMALLOC_CACHE_BYTES", "64 KiB"),
        ("OBMALLOC_CACHEBYTES", "1"),
        ("OBMALLOC_", ""),
        ("OBMALLOC_SYSTEM_TUNING", "1"),
        ("XOBMALLOC_FOO", "1"),
        ("OBMALLOCX", "1"),
    ];
    let (said, stderr) = in_force("what_means_nothing_is_reported_once", &variables);
    assert_eq!(said, format!("{CACHE_BYTES} true"));
    let mut complaints = complaints(&stderr);
    complaints.sort_unstable();
    let expected = [
        "obmalloc: ignored: OBMALLOC_= is no variable of this allocator",
        "obmalloc: ignored: OBMALLOC_CACHEBYTES=1 is no variable of this allocator",
        "obmalloc: ignored: OBMALLOC_CACHE_BYTES=64 KiB is not a number of bytes, such as 65536, 64K, 2M or 1G",
    ];
    assert_eq!(complaints, expected, "{stderr}");
}

#[test]
fn a_value_of_any_length_is_reported_in_one_line() {
    let long = "7".repeat(10_000);
    let variables = [("OBMALLOC_CACHE_BYTES", long.as_str())];
    let (said, stderr) = in_force("a_value_of_any_length_is_reported_in_one_line", &variables);
    assert_eq!(said, format!("{CACHE_BYTES} false"));
    let complaints = complaints(&stderr);
    assert_eq!(complaints.len(), 1, "{stderr}");
    assert!(complaints[0].starts_with("obmalloc: ignored: OBMALLOC_CACHE_BYTES=777"), "{stderr}");
}

#[cfg(target_env = "gnu")]
mod tuning {
    use std::mem::MaybeUninit;

    use super::*;

    const FRAMES: usize = 4;
    const FRAME_BYTES: usize = 12 << 20;
    const ROUNDS: u64 = 10;
    const PAGE_BYTES: usize = 4096;

    fn minor_faults() -> u64 {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the usage is valid for writes.
        assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) }, 0);
        // SAFETY: written by `getrusage`, which succeeded.
        unsafe { usage.assume_init() }.ru_minflt as u64
    }

    fn touch_frames() {
        let frames: Vec<Vec<u8>> = (0..FRAMES).map(|_| Vec::with_capacity(FRAME_BYTES)).collect();
        for mut frame in frames {
            let pages = frame.spare_capacity_mut().chunks_mut(PAGE_BYTES);
            pages.for_each(|page| page[0] = MaybeUninit::new(1));
        }
    }

    /// Prints pages that were faulted in, in a mean round after the first.
    fn print_faults() {
        touch_frames();
        let before = minor_faults();
        (0..ROUNDS).for_each(|_| touch_frames());
        println!("{} faults", (minor_faults() - before) / ROUNDS);
    }

    #[track_caller]
    fn faults(test: &str, variables: &[(&str, &str)]) -> usize {
        let Ended { status, stdout, stderr } = child::run_with(test, variables, print_faults);
        assert!(status.success(), "{status}\n{stdout}\n{stderr}");
        let said = stdout.lines().find_map(|line| line.strip_suffix(" faults"));
        said.and_then(|number| number.parse().ok()).expect("a number of faults")
    }

    const ON: (&str, &str) = ("OBMALLOC_SYSTEM_TUNING", "1");

    const ALL: usize = FRAMES * FRAME_BYTES / PAGE_BYTES;

    #[test]
    fn with_tuning_pages_stay_from_round_to_round() {
        let faults = faults("tuning::with_tuning_pages_stay_from_round_to_round", &[ON]);
        assert!(faults < ALL / 100, "{faults} faults of {ALL}");
    }

    /// What glibc keeps is of no use to small blocks: it goes back when these need more.
    #[test]
    fn what_is_kept_goes_when_small_blocks_need_memory() {
        let test = "tuning::what_is_kept_goes_when_small_blocks_need_memory";
        // glibc's own trimming leaves the top of all arenas but the first alone.
        let ended = child::run_with(test, &[ON, ("MALLOC_ARENA_MAX", "1")], || {
            touch_frames();
            let before = rss::resident_bytes();
            assert!(before > FRAMES * FRAME_BYTES, "{before} bytes are resident: nothing is kept");
            let boxes: Vec<Box<[usize; 8]>> = (0..400_000).map(|_| Box::new([1; 8])).collect();
            let small_bytes = boxes.len() * size_of::<[usize; 9]>();
            let after = rss::resident_bytes();
            assert!(small_bytes > 16 << 20 && after < before, "{before} bytes, then {after}");
            drop(boxes);
        });
        assert!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
    }

    #[test]
    fn without_tuning_they_go() {
        let faults = faults("tuning::without_tuning_they_go", &[]);
        assert!(faults > ALL / 4, "{faults} faults of {ALL}");
    }

    #[test]
    fn what_the_user_has_set_stays() {
        for variable in ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"] {
            let users = [ON, (variable, "131072")];
            let faults = faults("tuning::what_the_user_has_set_stays", &users);
            assert!(faults > ALL / 4, "{variable}: {faults} faults of {ALL}");
        }
        let users = [ON, ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072")];
        let faults = faults("tuning::what_the_user_has_set_stays", &users);
        assert!(faults > ALL / 4, "{faults} faults of {ALL}");
    }
}
