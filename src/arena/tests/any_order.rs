//! Steps in any order, each of which leaves the lists in order: pools taken and given by all shards, time that passes,
//! a system that refuses, bounds, huge pages, forks.

use super::*;
use crate::config::{ARENA_RUNS_MAX, SHARD_COUNT};

const SEEDS: u64 = 60;
const STEPS: usize = 250;

/// Numbers in any order, the same for a seed (Marsaglia, "Xorshift RNGs", 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A program over arenas, and the pools that it has.
struct Program<'a> {
    random: Random,
    pages: &'a TestPages,
    arenas: &'a Arenas<&'a TestPages>,
    held: Vec<Pool>,
}

impl Program<'_> {
    fn step(&mut self) {
        match self.random.below(20) {
            0..=7 => self.take_some(),
            8..=13 => self.give_some(),
            14 => {
                let kept = self.held.len() / 4;
                self.give_from(kept);
            }
            15 => pass(self.arenas, self.random.below(400)),
            16 => {
                let in_turn = self.random.one_in(2);
                let order = if in_turn { ClaimOrder::InTurn } else { ClaimOrder::SparsestFirst };
                self.arenas.purge_idle(1 + self.random.below(200), order);
            }
            17 => self.change_system(),
            18 => self.fork_amid_release(),
            _ => {
                let staying = self.arenas.lists.lock().unlink_staying(1 + self.random.below(5));
                self.arenas.release(staying);
            }
        }
        assert!(self.arenas.is_valid() && self.arenas.is_at_rest());
    }

    /// None that somebody has, and one whose memory is there where there is any.
    fn take_some(&mut self) {
        let shard = Shard::at(self.random.below(SHARD_COUNT));
        for _ in 0..=self.random.below(80) {
            let idle_before = idle(self.arenas);
            let from_lists = self.arenas.take_pool(shard);
            let is_from_lists = from_lists.is_some();
            let taken = from_lists.or_else(|| self.arenas.map_and_take_pool(shard));
            let Some((pool, zeroed)) = taken else { return };
            assert!(!self.held.contains(&pool), "a pool that somebody has");
            if is_from_lists && idle_before > 0 {
                assert_eq!(idle(self.arenas), idle_before - 1, "memory that was not there");
            }
            // SAFETY: the pool is this test's own.
            assert!(!zeroed || unsafe { word_of(pool).read() } == 0);
            // SAFETY: as above.
            unsafe { word_of(pool).write(u64::MAX) };
            self.held.push(pool);
        }
    }

    /// Any, or those that were taken last.
    fn give_some(&mut self) {
        if self.random.one_in(2) {
            let count = self.random.below(120);
            self.give_from(self.held.len().saturating_sub(count));
        } else {
            let count = self.random.below(120).min(self.held.len());
            let given = (0..count).map(|_| {
                let place = self.random.below(self.held.len());
                self.held.swap_remove(place)
            });
            let given: Vec<Pool> = given.collect();
            give(self.arenas, given);
        }
    }

    fn give_from(&mut self, first: usize) {
        give(self.arenas, self.held.split_off(first));
    }

    fn change_system(&mut self) {
        let refuses = self.random.one_in(2);
        match self.random.below(3) {
            0 => self.pages.refuses_release.store(refuses, Ordering::SeqCst),
            1 => self.pages.refuses_purge.store(refuses, Ordering::SeqCst),
            _ => {
                let most = if refuses { 1 + self.random.below(60) } else { 0 };
                self.pages.most.store(most, Ordering::SeqCst);
            }
        }
    }

    fn fork_amid_release(&mut self) {
        let mut lists = self.arenas.lists.lock();
        let leaving = lists.unlink_empty(self.random.below(3), 1 + self.random.below(10));
        lists.transit.halt();
        drop(lists);
        self.arenas.release(leaving);
        assert_eq!(self.arenas.purge_idle(usize::MAX, ClaimOrder::SparsestFirst), 0);
        self.arenas.lists.lock().transit.resume();
    }
}

fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let pages = TestPages::default();
    pages.page_bytes.store(POOL_BYTES << (2 * random.below(3)), Ordering::SeqCst);
    pages.has_huge.store(random.one_in(2), Ordering::SeqCst);
    pages.can_populate.store(random.one_in(2), Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let huge_from = random.one_in(2).then(|| random.below(10));
    let most = random.one_in(3).then(|| 20 + random.below(30));
    arenas.keep_to(ArenaBounds { huge_from, most, ..ArenaBounds::NONE });
    if random.one_in(2) {
        // So many that what would split one stays.
        arenas.lists.lock().runs.fewer = ARENA_RUNS_MAX;
    }
    let mut program = Program { random, pages: &pages, arenas: &arenas, held: Vec::new() };
    (0..STEPS).for_each(|_| program.step());
    let held = program.held;
    pages.refuses_release.store(false, Ordering::SeqCst);
    pages.refuses_purge.store(false, Ordering::SeqCst);
    give(&arenas, held);
    arenas.lists.lock().runs.fewer = 0;
    arenas.release_free();
    assert_eq!((counts(&arenas), pages.live()), ((0, 0), 0));
}

#[test]
fn lists_are_in_order_after_each_of_any_steps() {
    for seed in 1..=SEEDS {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "by seed {seed}");
    }
}
