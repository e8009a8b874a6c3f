//! Work that allocates much, for a host that is no Rust program and loads this late.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

thread_local! {
    /// Freed at the thread's end, be that before or after the host has closed the library.
    static KEPT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Builds and drops maps of strings, and blocks of up to 300,000 bytes; returns a number that the
/// seed alone decides. Only what is kept leaves a destructor behind, for which the C library would
/// not unload the library while the thread lives.
// SAFETY: no other function of the library has this name.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_work(seed: u64, keep: bool) -> u64 {
    let mut state = seed;
    let mut ordered: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut sums: HashMap<u64, Box<u64>> = HashMap::new();
    for step in 0..20_000 {
        let random = next_random(&mut state);
        let mut key = String::from("key");
        let _ = write!(key, "{}", random % 2000);
        let size = if step % 500 == 0 { random % 300_000 } else { random % 700 };
        let content = vec![step as u8; size as usize];
        if let Some(old) = ordered.insert(key, content) {
            **sums.entry(old.len() as u64 % 100).or_default() +=
                old.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        }
    }
    if keep {
        KEPT.with_borrow_mut(|kept| {
            kept.clear();
            kept.extend(ordered.keys().cloned());
        });
    }
    let lengths: usize = ordered.values().map(Vec::len).sum();
    sums.values().map(|sum| **sum).sum::<u64>() + lengths as u64
}
