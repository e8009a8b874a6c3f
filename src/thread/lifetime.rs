//! When threads and processes begin and end.

use core::ffi::c_void;
use core::sync::atomic::Ordering;

use super::forks;
use super::memory::{notice_thread, start_wanted_watch};
use super::own::{self, caches_are_flushed, with_caches};
use super::survey::print_stats;
use super::uses::replace_inside;
use super::{
    CONFIG, CORES, Caches, EXIT, FORK_IS_HANDLED, HEAP, LARGE_HEAP, LARGE_TRIM_REQUESTS,
    SMALL_TRIM_REQUESTS,
};
use crate::cache::Keeping;
use crate::config::{CORES_PER_SYSTEM_ARENA, Config, SystemTuning, VARIABLE_PREFIX};
use crate::os;

/// Sees to it that the thread's end flushes its caches, and that a `fork` finds the heaps in order. Says if the
/// caches now have what a thread before this one held.
#[inline]
pub(super) fn prepare(caches: &Caches, chosen: &Config) -> bool {
    caches.small.keeping() == Keeping::NotYet && prepare_slow(caches, chosen)
}

#[cold]
#[inline(never)]
fn prepare_slow(caches: &Caches, chosen: &Config) -> bool {
    os::keeping_errno(|| begin(caches, chosen))
}

fn begin(caches: &Caches, chosen: &Config) -> bool {
    // Relaxed: the flag only keeps a second registration away and publishes nothing. A `fork` by
    // another thread while the first registration is under way is not covered by it; where Rust
    // starts the process, its first allocation comes before its first thread.
    if !FORK_IS_HANDLED.swap(true, Ordering::Relaxed) && !forks::handle() {
        FORK_IS_HANDLED.store(false, Ordering::Relaxed);
    }
    let limits = config(chosen).cache_limits();
    notice_thread(chosen);
    if !EXIT.arm() {
        return false;
    }
    caches.small_trim_follower.begin(&SMALL_TRIM_REQUESTS);
    caches.large_trim_follower.begin(&LARGE_TRIM_REQUESTS);
    let known = caches.small.keep_until_exit(&HEAP, cores(), limits);
    if let Some(shard) = caches.small.joined() {
        caches.large.keep_until_exit(limits.large_bytes, shard);
    }
    let Some(known) = known else { return false };
    caches.small_trim_follower.take_over(known);
    // It may do without an exchange from now on, as the thread before it.
    HEAP.tick();
    true
}

/// The configuration in force: that of the process's first slow path, as its environment changes it.
pub(crate) fn config(chosen: &Config) -> Config {
    let mut in_force = CONFIG.lock();
    if let Some(config) = *in_force {
        return config;
    }
    let mut config = *chosen;
    let with_variable = |config: Config, name: &[u8], value: &[u8]| match own::refusal(name) {
        Some(why) => Err(why),
        None => config.with_variable(name, value),
    };
    os::for_each_variable(VARIABLE_PREFIX, |name, value| {
        config = with_variable(config, name, value).unwrap_or(config);
    });
    if config.system_tuning() != SystemTuning::Off && os::has_users_thresholds() {
        config = config.with_system_tuning(SystemTuning::Off);
    }
    *in_force = Some(config);
    drop(in_force);
    HEAP.arenas().keep_to(config.arena_bounds());
    // By the one thread that has settled it, and without the lock.
    os::for_each_variable(VARIABLE_PREFIX, |name, value| {
        if let Err(why) = with_variable(config, name, value) {
            os::write_error(&[
                b"obmalloc: ignored: ",
                VARIABLE_PREFIX,
                name,
                b"=",
                value,
                b" ",
                why.as_bytes(),
                b"\n",
            ]);
        }
    });
    if config.limits_system_arenas() {
        let arenas = (cores() / CORES_PER_SYSTEM_ARENA).max(1);
        let has_one = os::limit_arenas(arenas) && arenas == 1;
        // Where there have been threads before, the system allocator may have more already. A library that is
        // loaded late does not know.
        if has_one && !os::is_shared_library() && os::is_only_thread() {
            LARGE_HEAP.swings().share();
        }
    }
    if config.tunes_at_start() {
        os::tune_early();
    }
    if config.system_tuning() == SystemTuning::Full {
        os::tune_fully();
    }
    if config.stats_at_exit() {
        os::at_exit(print_stats);
    }
    config
}

/// Processors that the process may use, asked for once: the same number ever after.
pub(super) fn cores() -> usize {
    // Relaxed, here and below: a plain number, which publishes nothing.
    let known = CORES.load(Ordering::Relaxed);
    if known != 0 { known } else { ask_for_cores_slow() }
}

#[cold]
#[inline(never)]
fn ask_for_cores_slow() -> usize {
    let asked = os::cores().max(1);
    let settled = CORES.compare_exchange(0, asked, Ordering::Relaxed, Ordering::Relaxed);
    settled.map_or_else(|before| before, |_| asked)
}

pub(super) unsafe extern "C" fn flush_at_exit(value: *mut c_void) {
    if EXIT.is_due(value) {
        let was_inside = replace_inside(true);
        with_caches(Caches::flush_for_good);
        replace_inside(was_inside);
        caches_are_flushed();
        start_wanted_watch();
    }
}
