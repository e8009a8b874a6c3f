//! What a program takes and frees in large blocks time after time is not faulted in anew each time, and goes
//! back when that ends; in other threads, too, as long as glibc has one arena for all of them. Where it may have more
//! it ends when another thread begins. The test harness would run this in another thread, so it has none.

#[cfg(all(target_os = "linux", target_env = "gnu", not(obmalloc_no_arenas)))]
#[path = "common/idle.rs"]
mod idle;
#[cfg(all(target_os = "linux", target_env = "gnu", not(obmalloc_no_arenas)))]
#[path = "common/rss.rs"]
mod rss;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

#[cfg(all(target_os = "linux", target_env = "gnu", not(obmalloc_no_arenas)))]
mod on_glibc {
    use std::hint::black_box;
    use std::process::Command;

    use super::{idle, rss};

    const PAGE: usize = 4096;

    /// Larger than any block that the library keeps by itself when it begins.
    const FRAME: usize = 3 << 20;
    const FRAMES: usize = 8;

    /// Glibc has one arena for each four processors.
    const CORES_OF_TWO_ARENAS: usize = 8;

    /// Pages that this process has had to ask the kernel for.
    fn page_faults() -> usize {
        // SAFETY: all zeroes is a value of the structure.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to such a structure, which the call fills in.
        assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }, 0);
        usage.ru_minflt as usize
    }

    /// As a pipeline of frames: takes some, writes to them and frees them, so many times; how many pages it
    /// has had to ask for.
    fn swing(rounds: usize) -> usize {
        let before = page_faults();
        for _ in 0..rounds {
            drop(black_box([(); FRAMES].map(|()| vec![1_u8; FRAME])));
        }
        page_faults() - before
    }

    fn assert_stays() {
        let pages = FRAMES * FRAME / PAGE;
        swing(5);
        let faults = swing(20);
        assert!(faults < pages, "{faults} faults in 20 times {pages} pages");
    }

    fn assert_goes_back(before: usize) {
        let left = idle::left_after_a_while(before, FRAMES * FRAME / 4);
        assert!(left < FRAMES * FRAME / 4, "{left} bytes are left");
    }

    /// As the allocator counts them.
    fn cores() -> usize {
        // SAFETY: all zeroes is a value of the set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a set of this size, which the call fills in.
        assert_eq!(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) }, 0);
        // SAFETY: the set was filled in.
        unsafe { libc::CPU_COUNT(&set) as usize }
    }

    pub(super) fn run() {
        let before = rss::resident_bytes();
        for _ in 0..2 {
            assert_stays();
            assert_goes_back(before);
        }
        if std::env::var_os(ARENAS).is_none() && cores() < CORES_OF_TWO_ARENAS {
            let in_thread = |run: fn()| std::thread::spawn(run).join().expect("no panic");
            in_thread(assert_stays);
            // Whoever comes by gives it back, and the thread has ended.
            assert_goes_back(before);
            in_thread(assert_stays);
            assert_stays();
            return;
        }
        assert_stays();
        // A thread whose memory the library would never give back.
        std::thread::spawn(|| black_box(vec![1_u8; FRAME])).join().expect("no panic");
        let faults = swing(20);
        let pages = 20 * FRAMES * FRAME / PAGE;
        assert!(faults > pages / 2, "{faults} faults of {pages} with another thread");
    }

    /// Runs this program once more, with a user's number of arenas.
    pub(super) fn run_with_users_arenas() {
        let mut program = Command::new(std::env::current_exe().expect("this program"));
        let status = program.env(ARENAS, "2").status().expect("it starts");
        assert!(status.success(), "with a user's number of arenas: {status}");
    }

    pub(super) const ARENAS: &str = "MALLOC_ARENA_MAX";
}

fn main() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(obmalloc_no_arenas)))]
    {
        on_glibc::run();
        if std::env::var_os(on_glibc::ARENAS).is_none() {
            on_glibc::run_with_users_arenas();
        }
    }
    println!("what swings stays as long as it does, and no arena may keep it for good: ok");
}
