//! What a program and its user choose: the static's methods, the environment's precedence, what is said
//! of variables that mean nothing, and that the system allocator's thresholds are what was chosen.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

use std::thread;

use obmalloc::{Obmalloc, SystemTuning};

#[path = "common/child.rs"]
#[expect(dead_code, reason = "every process here has an environment of its own")]
mod child;
#[path = "common/rss.rs"]
mod rss;

use child::Ended;

const CACHE_BYTES: usize = 3 << 20;

#[global_allocator]
static GLOBAL: Obmalloc =
    Obmalloc::new().with_cache_bytes(CACHE_BYTES).with_system_tuning(SystemTuning::Off);

fn print_config() {
    // From several threads, none of which need be the first.
    let configs: Vec<_> = (0..4).map(|_| thread::spawn(|| GLOBAL.config())).collect();
    for config in configs {
        assert_eq!(config.join().expect("no panic"), GLOBAL.config());
    }
    println!("in force: {} {:?}", GLOBAL.config().cache_bytes(), GLOBAL.config().system_tuning());
}

/// The two values in force in a process with these variables, and what it wrote to stderr.
#[track_caller]
fn in_force(test: &str, variables: &[(&str, &str)]) -> (String, String) {
    let Ended { status, stdout, stderr } = child::run_with(test, variables, print_config);
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    let said = stdout.lines().find_map(|line| line.strip_prefix("in force: "));
    (said.expect("the configuration").to_owned(), stderr)
}

fn complaints(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("obmalloc: ")).collect()
}

#[test]
fn what_the_static_says_is_in_force() {
    let (said, stderr) = in_force("what_the_static_says_is_in_force", &[]);
    assert_eq!(said, format!("{CACHE_BYTES} Off"));
    assert!(complaints(&stderr).is_empty(), "{stderr}");
}

#[test]
fn the_environment_has_precedence() {
    let variables = [("OBMALLOC_CACHE_BYTES", "64K"), ("OBMALLOC_SYSTEM_TUNING", "full")];
    let (said, stderr) = in_force("the_environment_has_precedence", &variables);
    assert_eq!(said, "65536 Full");
    assert!(complaints(&stderr).is_empty(), "{stderr}");
}

#[test]
fn what_means_nothing_is_reported_once() {
    let variables = [
        ("OBMALLOC_CACHE_BYTES", "64 KiB"),
        ("OBMALLOC_CACHEBYTES", "1"),
        ("OBMALLOC_", ""),
        ("OBMALLOC_SYSTEM_TUNING", "full"),
        ("XOBMALLOC_FOO", "1"),
        ("OBMALLOCX", "1"),
    ];
    let (said, stderr) = in_force("what_means_nothing_is_reported_once", &variables);
    assert_eq!(said, format!("{CACHE_BYTES} Full"));
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
    assert_eq!(said, format!("{CACHE_BYTES} Off"));
    let complaints = complaints(&stderr);
    assert_eq!(complaints.len(), 1, "{stderr}");
    assert!(complaints[0].starts_with("obmalloc: ignored: OBMALLOC_CACHE_BYTES=777"), "{stderr}");
}

#[cfg(target_env = "gnu")]
mod tuning {
    use std::mem::MaybeUninit;

    use super::*;

    const ROUNDS: usize = 10;
    const PAGE_BYTES: usize = 4096;

    /// Blocks that are all there at once, in each round.
    #[derive(Clone, Copy)]
    enum Frames {
        Large,
        Small,
    }

    impl Frames {
        fn count(self) -> usize {
            match self {
                Self::Large => 4,
                Self::Small => 16,
            }
        }

        fn bytes(self) -> usize {
            match self {
                Self::Large => 12 << 20,
                Self::Small => 192 << 10,
            }
        }

        fn pages(self) -> usize {
            self.count() * self.bytes() / PAGE_BYTES
        }

        fn touch(self) {
            let frames: Vec<Vec<u8>> =
                (0..self.count()).map(|_| Vec::with_capacity(self.bytes())).collect();
            for mut frame in frames {
                let pages = frame.spare_capacity_mut().chunks_mut(PAGE_BYTES);
                pages.for_each(|page| page[0] = MaybeUninit::new(1));
            }
        }
    }

    fn minor_faults() -> usize {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the usage is valid for writes.
        assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) }, 0);
        // SAFETY: written by `getrusage`, which succeeded.
        unsafe { usage.assume_init() }.ru_minflt as usize
    }

    /// Prints pages that are faulted in, in a mean round after the first.
    fn print_faults(frames: Frames) {
        frames.touch();
        let before = minor_faults();
        (0..ROUNDS).for_each(|_| frames.touch());
        println!("{} faults", (minor_faults() - before) / ROUNDS);
    }

    #[track_caller]
    fn faults(test: &str, variables: &[(&str, &str)], frames: Frames) -> usize {
        let body: fn() = match frames {
            Frames::Large => || print_faults(Frames::Large),
            Frames::Small => || print_faults(Frames::Small),
        };
        let Ended { status, stdout, stderr } = child::run_with(test, variables, body);
        assert!(status.success(), "{status}\n{stdout}\n{stderr}");
        let said = stdout.lines().find_map(|line| line.strip_suffix(" faults"));
        said.and_then(|number| number.parse().ok()).expect("a number of faults")
    }

    const EARLY: (&str, &str) = ("OBMALLOC_SYSTEM_TUNING", "early");
    const FULL: (&str, &str) = ("OBMALLOC_SYSTEM_TUNING", "full");

    #[track_caller]
    fn assert_pages_stay(test: &str, variables: &[(&str, &str)], frames: Frames) {
        let (faults, all) = (faults(test, variables, frames), frames.pages());
        assert!(faults < all / 100, "{variables:?}: {faults} faults of {all}");
    }

    #[track_caller]
    fn assert_pages_go(test: &str, variables: &[(&str, &str)], frames: Frames) {
        let (faults, all) = (faults(test, variables, frames), frames.pages());
        assert!(faults > all / 4, "{variables:?}: {faults} faults of {all}");
    }

    #[test]
    fn with_full_tuning_pages_stay_from_round_to_round() {
        let test = "tuning::with_full_tuning_pages_stay_from_round_to_round";
        assert_pages_stay(test, &[FULL], Frames::Large);
    }

    #[test]
    fn with_early_tuning_those_of_smaller_blocks_stay() {
        let test = "tuning::with_early_tuning_those_of_smaller_blocks_stay";
        assert_pages_stay(test, &[EARLY], Frames::Small);
    }

    /// In a thread that may have an arena of its own, as that of a test does if the user wants several.
    #[test]
    fn with_early_tuning_those_of_larger_blocks_go() {
        let test = "tuning::with_early_tuning_those_of_larger_blocks_go";
        assert_pages_go(test, &[EARLY, ("MALLOC_ARENA_MAX", "2")], Frames::Large);
    }

    /// What glibc keeps is of no use to small blocks: it goes back when these need more.
    #[test]
    fn what_is_kept_goes_when_small_blocks_need_memory() {
        let test = "tuning::what_is_kept_goes_when_small_blocks_need_memory";
        // glibc's own trimming leaves the top of all arenas but the first alone.
        let ended = child::run_with(test, &[FULL, ("MALLOC_ARENA_MAX", "1")], || {
            Frames::Large.touch();
            let before = rss::resident_bytes();
            let kept = Frames::Large.pages() * PAGE_BYTES;
            assert!(before > kept, "{before} bytes are resident: nothing is kept");
            let boxes: Vec<Box<[usize; 8]>> = (0..400_000).map(|_| Box::new([1; 8])).collect();
            let small_bytes = boxes.len() * size_of::<[usize; 9]>();
            let after = rss::resident_bytes();
            assert!(small_bytes > 16 << 20 && after < before, "{before} bytes, then {after}");
            drop(boxes);
        });
        assert!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
    }

    #[test]
    fn without_tuning_those_of_larger_blocks_go() {
        let test = "tuning::without_tuning_those_of_larger_blocks_go";
        assert_pages_go(test, &[], Frames::Large);
    }

    #[test]
    fn without_tuning_those_of_smaller_blocks_go() {
        let test = "tuning::without_tuning_those_of_smaller_blocks_go";
        assert_pages_go(test, &[], Frames::Small);
    }

    const OF_USERS: [(&str, &str); 3] = [
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072"),
    ];

    #[test]
    fn what_the_user_has_set_stays_with_full_tuning() {
        let test = "tuning::what_the_user_has_set_stays_with_full_tuning";
        OF_USERS.iter().for_each(|users| assert_pages_go(test, &[FULL, *users], Frames::Large));
    }

    #[test]
    fn what_the_user_has_set_stays_with_early_tuning() {
        let test = "tuning::what_the_user_has_set_stays_with_early_tuning";
        OF_USERS.iter().for_each(|users| assert_pages_go(test, &[EARLY, *users], Frames::Small));
    }
}
