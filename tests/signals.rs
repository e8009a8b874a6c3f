//! A process of one thread forks in a signal handler, which may have interrupted the allocator anywhere: it must not
//! wait for itself, and what it was at goes on in both. The test harness would make it two threads, so it has none.

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

#[cfg(all(target_os = "linux", target_env = "gnu", not(obmalloc_no_arenas)))]
#[path = "common/chain.rs"]
mod chain;

#[cfg(all(target_os = "linux", target_env = "gnu", not(obmalloc_no_arenas)))]
mod on_glibc {
    use std::env;
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use super::chain::Chain;

    /// Set in the environment of the process that forks.
    const FORKS_ITSELF: &str = "TEST_FORKS_ITSELF";
    /// Time that it has, far above what it needs.
    const TIME: Duration = Duration::from_secs(120);
    const FORKS: usize = 1000;
    const MICROSECONDS: libc::suseconds_t = 300;

    static FORKED: AtomicUsize = AtomicUsize::new(0);
    static BAD: AtomicUsize = AtomicUsize::new(0);

    /// Once: a timer that goes on could leave nothing of the time but for the handler.
    fn set_alarm() -> bool {
        let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let soon = libc::timeval { tv_usec: MICROSECONDS, ..never };
        let once = libc::itimerval { it_interval: never, it_value: soon };
        // SAFETY: the timer is valid for reads, and nobody asks for the one before.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &once, std::ptr::null_mut()) == 0 }
    }

    /// Calls nothing that is not allowed there.
    extern "C" fn fork_and_wait(_: libc::c_int) {
        // SAFETY: the function has no conditions.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: the place is this thread's.
        let errno = unsafe { place.read() };
        // SAFETY: a process of one thread, and the child calls `_exit` alone.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: `_exit` has no conditions.
            unsafe { libc::_exit(0) };
        }
        let mut status = -1;
        // SAFETY: the status is valid for writes.
        let waited = unsafe { libc::waitpid(child, &mut status, 0) };
        let goes_on = FORKED.fetch_add(1, Ordering::SeqCst) + 1 < FORKS;
        let is_good = child > 0 && waited == child && status == 0 && (!goes_on || set_alarm());
        BAD.fetch_add(usize::from(!is_good), Ordering::SeqCst);
        // SAFETY: as above.
        unsafe { place.write(errno) };
    }

    fn fork_in_handlers() {
        let handler = fork_and_wait as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler is a function of this program, of this type.
        assert_ne!(unsafe { libc::signal(libc::SIGALRM, handler) }, libc::SIG_ERR);
        assert!(set_alarm());
        while FORKED.load(Ordering::SeqCst) < FORKS && BAD.load(Ordering::SeqCst) == 0 {
            // Pools come and go, so that all locks are needed.
            for size in [200, 512, 600] {
                let mut chain = Chain::new(size);
                (0..2000).for_each(|_| assert!(chain.push()));
            }
        }
        assert_eq!(BAD.load(Ordering::SeqCst), 0);
    }

    /// In a process of its own, which is ended if it hangs.
    pub fn run() {
        if env::var_os(FORKS_ITSELF).is_some() {
            return fork_in_handlers();
        }
        let this_program = env::current_exe().expect("the path of this program");
        let mut process = Command::new(this_program)
            .env(FORKS_ITSELF, "1")
            .spawn()
            .expect("this program can be started");
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = process.try_wait().expect("the process can be waited for") {
                break status;
            }
            if begin.elapsed() > TIME {
                process.kill().expect("the process can be ended");
                panic!("a fork in a signal handler hangs");
            }
            sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{status}");
    }
}

fn main() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(obmalloc_no_arenas)))]
    on_glibc::run();
    println!("forks in a signal handler: ok");
}
