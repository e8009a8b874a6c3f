//! Models of the protocol at the head of `heap.rs`: some threads, a few steps each, on the real heap.
//! Under `cfg(loom)` every order of their locks is run, and what two threads touch with no lock in
//! between is an error; without, these are tests as others are. `ci/loom.sh` shows what they find.
//! The crate's other tests are none of loom's: name `model` when running them under `cfg(loom)`.
//!
//! A class of 512 bytes has eight blocks a pool, so that pools fill and empty within a few steps.

mod pages;
mod piles;

use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::block::Block;
use crate::census::Stats;
use crate::config::{ArenaBounds, DEPOT_MAGAZINES, ONE_WAY_FLUSHES, SHELF_MAGAZINES};
use crate::sync::testing::{self, Cell, Spawned, explore, spawn};
pub(crate) use pages::ModelPages;

/// Blocks in use. Their owner has written their own address to both of their ends.
struct Blocks(Vec<NonNull<Block>>);

// SAFETY: blocks in use belong to whoever has them, in any thread.
unsafe impl Send for Blocks {}

/// The first and the last word of a block. As the block's owner writes them, the model checker sees
/// if its ownership came from the owner before.
fn ends_of(block: NonNull<Block>, class: SizeClass) -> [&'static Cell<usize>; 2] {
    // SAFETY: the last word lies in the block.
    let last = unsafe { block.byte_add(class.bytes() - size_of::<usize>()) };
    // SAFETY: models keep arenas mapped as long as they have blocks of them, and a word has no
    // invalid values.
    [block, last].map(|word| unsafe { word.cast().as_ref() })
}

/// A heap, and who has what of it.
#[derive(Clone)]
struct Model {
    heap: Arc<Heap<ModelPages>>,
    pages: ModelPages,
    /// Where blocks in use begin and end. The model checker does not see this lock, so that it puts
    /// no order between threads.
    used: Arc<Mutex<BTreeMap<usize, usize>>>,
}

impl Model {
    fn new() -> Self {
        let pages = ModelPages::default();
        let heap = Arc::new(Heap::new(pages.clone()));
        Self { heap, pages, used: Arc::default() }
    }

    /// Notes blocks as in use; that none of them was is the heap's first duty.
    fn own(&self, class: SizeClass, blocks: Vec<NonNull<Block>>) -> Blocks {
        let mut used = self.used.lock().expect("no panic before");
        for block in &blocks {
            let (start, end) = (block.as_ptr().addr(), block.as_ptr().addr() + class.bytes());
            let below = used.range(..end).next_back();
            assert!(
                below.is_none_or(|(_, below_end)| *below_end <= start),
                "a block of two owners"
            );
            used.insert(start, end);
            assert_eq!(self.heap.pool_map().class_at(end - 1), Some(class), "an owner's look-up");
            ends_of(*block, class).into_iter().for_each(|word| word.set(start));
        }
        Blocks(blocks)
    }

    /// The blocks as a magazine, not in use any more.
    fn disown(&self, class: SizeClass, blocks: Blocks) -> Magazine {
        let mut used = self.used.lock().expect("no panic before");
        let mut magazine = Magazine::EMPTY;
        for block in blocks.0.into_iter().rev() {
            let start = block.as_ptr().addr();
            assert!(used.remove(&start).is_some());
            assert_eq!(self.heap.pool_map().class_at(start), Some(class), "an owner's look-up");
            assert_eq!(ends_of(block, class).map(|word| word.get()), [start; 2], "overwritten");
            // SAFETY: the block was in use, and its owner gives it up.
            unsafe { magazine.push(block) };
        }
        magazine
    }

    /// At most `most` blocks of a range.
    fn carve(&self, class: SizeClass, range: &mut FreshRange, most: u32) -> Blocks {
        let blocks: Vec<_> =
            (0..most).map_while(|_| range.carve(class)).map(NonNull::cast).collect();
        if range.is_zeroed() {
            let ends = blocks.iter().flat_map(|block| ends_of(*block, class));
            ends.for_each(|word| assert_eq!(word.get(), 0, "not zero"));
        }
        self.own(class, blocks)
    }

    fn refill(&self, class: SizeClass, most: u32) -> Blocks {
        self.refill_from(Shard::FIRST, class, most)
    }

    /// At most `most` blocks of what a refill brings, and all of a magazine.
    fn refill_from(&self, shard: Shard, class: SizeClass, most: u32) -> Blocks {
        match self.heap.refill(shard, class, most).expect("memory") {
            Supply::Fresh(mut range) => self.carve(class, &mut range, most),
            Supply::Magazine(mut magazine) => {
                assert!(magazine.is_valid() && !magazine.is_empty());
                self.own(class, core::iter::from_fn(|| magazine.pop()).collect())
            }
        }
    }

    fn flush(&self, class: SizeClass, blocks: Blocks) {
        let magazine = self.disown(class, blocks);
        // SAFETY: models flush what this heap gave them for this class.
        unsafe { self.heap.flush(class, magazine) };
    }

    fn give_back(&self, class: SizeClass, blocks: Blocks) {
        let magazine = self.disown(class, blocks);
        // SAFETY: models give back what this heap gave them for this class.
        unsafe { self.heap.give_back(class, magazine) };
    }

    /// A class's magazines and its used pools are in order.
    fn assert_is_valid(&self, shard: Shard, class: SizeClass) {
        let mut heap = self.heap.lock(shard, class);
        assert!(heap.depot().is_valid(), "depot in disorder");
        assert!(heap.is_valid(shard, class, usize::MAX), "used pools in disorder");
    }

    /// With no block in use any more, and no thread left, all memory goes back to the system.
    fn assert_all_is_back(&self) {
        assert!(self.used.lock().expect("no panic before").is_empty());
        for shard in Shard::all() {
            for class in [one_class(), other_class()] {
                self.assert_is_valid(shard, class);
                self.heap.empty_depots_of(shard);
            }
        }
        self.heap.release_free();
        assert_eq!(self.pages.live(), 0, "memory is lost");
    }
}

/// Eight blocks a pool.
fn one_class() -> SizeClass {
    SizeClass::all().last().expect("classes")
}

/// As many, in other places, so that a pool of two classes shows.
fn other_class() -> SizeClass {
    SizeClass::all().nth(CLASS_COUNT - 2).expect("classes")
}

fn join(thread: Spawned<()>) {
    assert!(thread.join().is_some(), "without a fork no thread vanishes");
}

#[test]
fn magazines_change_hands_through_the_depot() {
    explore("depot", || {
        let (model, class) = (Model::new(), one_class());
        let magazines = [model.refill(class, 8), model.refill(class, 8)];
        magazines.into_iter().for_each(|blocks| model.flush(class, blocks));
        let threads = [3, 5].map(|most| {
            let model = model.clone();
            spawn(move || {
                let whole = model.refill(class, 8);
                let part = model.refill(class, most);
                model.flush(class, whole);
                model.flush(class, part);
            })
        });
        threads.into_iter().for_each(join);
        model.assert_all_is_back();
    });
}

#[test]
fn what_finds_no_place_in_a_depot_goes_to_the_pools() {
    explore("full depot", || {
        let (model, class) = (Model::new(), one_class());
        let blocks = [8, 4].map(|most| model.refill(class, most));
        let alone: Vec<Blocks> = (1..DEPOT_MAGAZINES).map(|_| model.refill(class, 1)).collect();
        alone.into_iter().for_each(|block| model.flush(class, block));
        // One place is left, and the second flush from now finds that two magazines were of no use.
        model.heap.lock(Shard::FIRST, class).depot().pretend_unused(2);
        let threads = blocks.map(|blocks| {
            let model = model.clone();
            spawn(move || model.flush(class, blocks))
        });
        let blocks = model.refill(class, 8);
        model.give_back(class, blocks);
        threads.into_iter().for_each(join);
        model.assert_all_is_back();
    });
}

#[test]
fn depots_above_their_base_keep_their_magazines_apart() {
    explore("shelves", || {
        let model = Model::new();
        let tops = [one_class(), other_class()].map(|class| {
            let top = model.refill(class, 2);
            let alone: Vec<_> = (0..SHELF_MAGAZINES).map(|_| model.refill(class, 1)).collect();
            alone.into_iter().for_each(|block| model.flush(class, block));
            (class, top)
        });
        let threads = tops.map(|(class, top)| {
            let model = model.clone();
            spawn(move || {
                model.flush(class, top);
                let top = model.refill(class, 8);
                assert_eq!(top.0.len(), 2, "what this thread has put there");
                model.give_back(class, top);
            })
        });
        threads.into_iter().for_each(join);
        model.assert_all_is_back();
    });
}

#[test]
fn a_one_way_phase_empties_the_depot_while_others_fill_it() {
    explore("one way", || {
        let (model, class) = (Model::new(), one_class());
        let blocks = [8, 4, 2].map(|most| model.refill(class, most));
        let kept = model.refill(class, 1);
        model.flush(class, kept);
        model.heap.lock(Shard::FIRST, class).flushes_since_refill = ONE_WAY_FLUSHES - 1;
        let threads = blocks.map(|blocks| {
            let model = model.clone();
            spawn(move || model.flush(class, blocks))
        });
        threads.into_iter().for_each(join);
        model.assert_all_is_back();
    });
}

#[test]
fn an_emptied_pool_goes_to_its_arena_once() {
    explore("emptied pool", || {
        let model = Model::new();
        // The two halves of one pool come back from two threads.
        let halves = [4, 4].map(|most| model.refill(one_class(), most));
        let threads = halves.map(|half| {
            let model = model.clone();
            spawn(move || {
                model.give_back(one_class(), half);
                let blocks = model.refill(one_class(), 2);
                model.give_back(one_class(), blocks);
            })
        });
        let blocks = model.refill(other_class(), 8);
        model.give_back(other_class(), blocks);
        threads.into_iter().for_each(join);
        model.assert_all_is_back();
    });
}

#[test]
fn a_new_pool_is_seen_by_others_once_its_first_blocks_are_carved() {
    explore("new pool", || {
        let (model, class) = (Model::new(), one_class());
        let threads = [3, 5].map(|most| {
            let model = model.clone();
            spawn(move || {
                let blocks = [model.refill(class, most), model.refill(class, most)];
                blocks.into_iter().for_each(|blocks| model.give_back(class, blocks));
            })
        });
        let blocks = model.refill(class, 8);
        threads.into_iter().for_each(join);
        model.give_back(class, blocks);
        model.assert_all_is_back();
    });
}

#[test]
fn a_shard_is_left_while_another_frees_its_blocks_and_uses_them() {
    explore("shards", || {
        let (model, class) = (Model::new(), one_class());
        let (left, kept) = (model.heap.join(2), model.heap.join(2));
        let blocks = [5, 2].map(|most| model.refill_from(left, class, most));
        let own = model.refill_from(kept, class, 3);
        let other = spawn({
            let model = model.clone();
            move || {
                blocks.into_iter().for_each(|blocks| model.flush(class, blocks));
                let blocks = [8, 8].map(|most| model.refill_from(kept, class, most));
                blocks.into_iter().for_each(|blocks| model.give_back(class, blocks));
            }
        });
        let last = model.refill_from(left, class, 2);
        model.give_back(class, last);
        model.heap.leave(left);
        model.give_back(class, own);
        join(other);
        model.assert_all_is_back();
    });
}

#[test]
fn a_thread_ends_while_others_free_its_blocks_and_carve_behind_them() {
    explore("remote free", || {
        let (model, class) = (Model::new(), one_class());
        let Some(Supply::Fresh(mut range)) = model.heap.refill(Shard::FIRST, class, 5) else {
            panic!("a heap without memory has only virgin blocks")
        };
        let carved = model.carve(class, &mut range, 2);
        let threads = [
            spawn({
                let model = model.clone();
                move || model.give_back(class, carved)
            }),
            spawn({
                let model = model.clone();
                move || {
                    let blocks = [model.refill(class, 2), model.refill(class, 2)];
                    blocks.into_iter().for_each(|blocks| model.give_back(class, blocks));
                }
            }),
        ];
        // SAFETY: the range came from this class of this heap.
        unsafe { model.heap.give_back_fresh(class, range) };
        threads.into_iter().for_each(join);
        model.assert_all_is_back();
    });
}

#[test]
fn an_arena_leaves_while_others_want_its_pools() {
    for refuses in [false, true] {
        explore(if refuses { "purge" } else { "release" }, move || {
            let (model, class) = (Model::new(), one_class());
            model.pages.0.test.refuses_release.store(refuses, Ordering::SeqCst);
            let blocks = model.refill(class, 8);
            let threads = [
                spawn({
                    let model = model.clone();
                    move || {
                        model.give_back(class, blocks);
                        model.heap.release_free();
                    }
                }),
                spawn({
                    let model = model.clone();
                    move || {
                        let blocks = model.refill(other_class(), 8);
                        model.give_back(other_class(), blocks);
                        model.heap.release_free();
                    }
                }),
            ];
            threads.into_iter().for_each(join);
            model.pages.0.test.refuses_release.store(false, Ordering::SeqCst);
            model.assert_all_is_back();
        });
    }
}

#[test]
fn idle_pools_are_purged_while_others_want_them() {
    explore("idle pools", || {
        let (model, class) = (Model::new(), one_class());
        let [kept, returned] = [8, 8].map(|most| model.refill(class, most));
        model.give_back(class, returned);
        let threads = [
            spawn({
                let model = model.clone();
                move || {
                    model.heap.release_free();
                }
            }),
            spawn({
                let model = model.clone();
                move || {
                    let blocks = model.refill(other_class(), 8);
                    model.give_back(other_class(), blocks);
                    model.heap.release_free();
                }
            }),
        ];
        model.give_back(class, kept);
        threads.into_iter().for_each(join);
        model.assert_all_is_back();
    });
}

/// A request gets null where none of the pools in use is free, and nowhere else.
#[test]
fn free_pools_go_while_others_want_them_and_no_more_may_be_mapped() {
    explore("bound", || {
        let (model, class) = (Model::new(), one_class());
        model.heap.arenas.keep_to(ArenaBounds { most: Some(1), ..ArenaBounds::NONE });
        let [kept, returned] = [8, 8].map(|most| model.refill(class, most));
        model.give_back(class, returned);
        let other_thread = spawn({
            let model = model.clone();
            move || {
                model.heap.release_free();
            }
        });
        let last_thread = spawn({
            let model = model.clone();
            move || {
                model.give_back(class, kept);
                model.heap.release_free();
            }
        });
        let blocks = model.refill(other_class(), 8);
        assert_eq!(model.pages.live(), 1, "more is mapped than may be");
        model.give_back(other_class(), blocks);
        join(other_thread);
        join(last_thread);
        model.assert_all_is_back();
    });
}

#[test]
fn a_survey_finds_each_byte_once_whatever_others_do() {
    explore("survey", || {
        let (model, class) = (Model::new(), one_class());
        let [kept, returned] = [8, 3].map(|most| model.refill(class, most));
        let other_thread = spawn({
            let model = model.clone();
            move || {
                model.give_back(class, returned);
                let blocks = model.refill(other_class(), 8);
                model.flush(other_class(), blocks);
                model.heap.release_free();
            }
        });
        let mut stats = Stats::new();
        model.heap.survey(SHARD_COUNT, &mut stats);
        stats.settle();
        assert!(stats.is_balanced(), "{stats:?}");
        model.give_back(class, kept);
        join(other_thread);
        model.assert_all_is_back();
    });
}

/// A thread forks at any moment of another's way through the heap.
fn explore_fork(name: &str, goes_on: fn() -> bool) {
    explore(name, move || {
        let model = Model::new();
        let kept = [8, 3].map(|most| model.refill(one_class(), most));
        let returned = model.refill(other_class(), 8);
        let other_thread = spawn({
            let model = model.clone();
            move || {
                // Ways through all locks: pools to their arenas, from there to the system, and to a class.
                model.give_back(other_class(), returned);
                model.heap.release_free();
                let blocks = [model.refill(one_class(), 8), model.refill(one_class(), 4)];
                blocks.into_iter().for_each(|blocks| model.flush(one_class(), blocks));
            }
        });
        model.heap.lock_for_fork(SHARD_COUNT);
        testing::assert_locks_held(SHARD_COUNT * (CLASS_COUNT + 1) + 1);
        let is_child = goes_on();
        // SAFETY: locked above, by this thread.
        unsafe { model.heap.unlock_after_fork(SHARD_COUNT) };
        assert!(!is_child || model.heap.arenas.is_at_rest(), "nobody brings that back");
        for class in [one_class(), other_class()] {
            model.assert_is_valid(Shard::FIRST, class);
            let blocks = [model.refill(class, 8), model.refill(class, 3)];
            blocks.into_iter().for_each(|blocks| model.give_back(class, blocks));
        }
        kept.into_iter().for_each(|blocks| model.flush(one_class(), blocks));
        if other_thread.join().is_some() {
            model.assert_all_is_back();
        }
        model.heap.empty_depots();
        model.heap.release_free();
    });
}

#[test]
fn a_parent_loses_nothing_by_a_fork() {
    explore_fork("fork, parent", || false);
}

#[test]
fn a_child_finds_the_heap_in_order_without_the_threads_that_its_parent_had() {
    explore_fork("fork, child", testing::become_the_child);
}
