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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::chain::Chain;

    const FORKS: usize = 1000;
    const PERIOD_MICROSECONDS: libc::suseconds_t = 500;
    /// Time that the process has, far above what it needs.
    const SECONDS: libc::time_t = 120;

    static FORKED: AtomicUsize = AtomicUsize::new(0);
    static BAD: AtomicUsize = AtomicUsize::new(0);

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
        FORKED.fetch_add(1, Ordering::SeqCst);
        BAD.fetch_add(usize::from(child < 0 || waited != child || status != 0), Ordering::SeqCst);
        // SAFETY: as above.
        unsafe { place.write(errno) };
    }

    fn set_timer(which: libc::c_int, seconds: libc::time_t, micros: libc::suseconds_t) {
        let time = libc::timeval { tv_sec: seconds, tv_usec: micros };
        let timer = libc::itimerval { it_interval: time, it_value: time };
        // SAFETY: the timer is valid for reads, and nobody asks for the one before.
        assert_eq!(unsafe { libc::setitimer(which, &timer, std::ptr::null_mut()) }, 0);
    }

    pub fn run() {
        let handler = fork_and_wait as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler is a function of this program, of this type.
        assert_ne!(unsafe { libc::signal(libc::SIGALRM, handler) }, libc::SIG_ERR);
        // Ends the process if it hangs.
        set_timer(libc::ITIMER_PROF, SECONDS, 0);
        set_timer(libc::ITIMER_REAL, 0, PERIOD_MICROSECONDS);
        while FORKED.load(Ordering::SeqCst) < FORKS {
            // Pools come and go, so that all locks are needed.
            for size in [200, 512, 600] {
                let mut chain = Chain::new(size);
                (0..2000).for_each(|_| assert!(chain.push()));
            }
        }
        set_timer(libc::ITIMER_REAL, 0, 0);
        set_timer(libc::ITIMER_PROF, 0, 0);
        assert_eq!(BAD.load(Ordering::SeqCst), 0);
    }
}

fn main() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(obmalloc_no_arenas)))]
    on_glibc::run();
    println!("forks in a signal handler: ok");
}
