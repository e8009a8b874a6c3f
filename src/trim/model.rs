//! Models of how threads give back what their caches hold: when another asks for it, when they end, and when
//! they are used once more after that, as by the destructor of a thread-local value. As those of the heap are:
//! real caches over the real heap, a few steps each, and `ci/loom.sh` runs them in every order.

use core::ptr::NonNull;
use std::sync::Arc;

use super::*;
use crate::cache::ThreadCache;
use crate::config::{CLASS_COUNT, Config};
use crate::heap::Heap;
use crate::heap::model::ModelPages;
use crate::pool::Shard;
use crate::size_class::SizeClass;
use crate::sync::Lock;
use crate::sync::testing::{explore, spawn};

/// Shards and cores of the modelled machine: all threads share what there is.
const CORES: usize = 1;

/// What the threads of a model share.
#[derive(Clone)]
struct Process {
    heap: Arc<Heap<ModelPages>>,
    pages: ModelPages,
    requests: Arc<TrimRequests>,
}

/// One thread's cache, driven as `thread` drives it.
struct Owner {
    process: Process,
    cache: ThreadCache,
    follower: Follower,
    /// Requests that it has followed.
    flushes: Cell<usize>,
}

/// A block in use.
struct Used(NonNull<u8>);

// SAFETY: a block in use belongs to whoever has it, in any thread.
unsafe impl Send for Used {}

// SAFETY: so do the blocks of a cache whose thread has ended.
unsafe impl Send for Owner {}

impl Process {
    fn new() -> Self {
        let pages = ModelPages::default();
        let heap = Arc::new(Heap::new(pages.clone()));
        let requests = Arc::new(TrimRequests::new());
        // The model checker's number is made where it is first looked at, which is to be before all threads.
        Follower::new().begin(&requests);
        Self { heap, pages, requests }
    }

    /// A thread that begins now.
    fn begin(&self) -> Owner {
        let owner = Owner {
            process: self.clone(),
            cache: ThreadCache::new(),
            follower: Follower::new(),
            flushes: Cell::new(0),
        };
        owner.follower.begin(&self.requests);
        let limits = Config::DEFAULT.cache_limits();
        if let Some(known) = owner.cache.keep_until_exit(&self.heap, CORES, limits) {
            owner.follower.take_over(known);
        }
        owner
    }

    /// What the threads do not hold goes back to the system, and that is all there was.
    fn assert_all_is_back(&self) {
        self.heap.empty_depots();
        self.heap.release_free();
        assert_eq!(self.pages.live(), 0, "memory is lost, or held by a thread");
    }
}

impl Owner {
    fn alloc(&self, class: SizeClass) -> Used {
        let block = self.cache.pop(class).or_else(|| self.cache.pop_reserve(class));
        let block = block.unwrap_or_else(|| {
            self.come_by();
            assert!(self.cache.refill(&self.process.heap, class), "memory");
            let block = self.cache.pop_reserve(class).expect("a refill brings a block");
            self.cache.flush_unless_keeping(&self.process.heap, class);
            block
        });
        Used(block)
    }

    /// A virgin block, of which others stay in the cache, if that has none of the class.
    fn alloc_virgin(&self, class: SizeClass) -> Used {
        if self.cache.blocks(class) > 0 {
            return self.alloc(class);
        }
        assert!(self.cache.refill(&self.process.heap, class), "memory");
        Used(self.cache.pop_reserve_zeroed(class).expect("a refill brings a block"))
    }

    fn free(&self, class: SizeClass, Used(block): Used) {
        // SAFETY: models free what this heap gave for this class.
        if !unsafe { self.cache.push(block, class) } {
            // SAFETY: as above; it was not taken.
            unsafe { self.cache.push_full(&self.process.heap, block, class) }
            self.come_by();
        }
    }

    /// As each slow path.
    fn come_by(&self) {
        if self.follower.is_asked(&self.process.requests) {
            self.flushes.set(self.flushes.get() + 1);
            self.cache.flush(&self.process.heap);
        }
    }

    fn trim(&self) {
        self.process.requests.ask(&self.follower);
        self.cache.flush(&self.process.heap);
        self.process.heap.empty_depots();
        self.process.heap.release_free();
    }

    /// Has at least a block of each class in the cache.
    fn hold_some(&self) {
        for class in classes() {
            let blocks = [self.alloc(class), self.alloc(class)];
            blocks.into_iter().for_each(|block| self.free(class, block));
        }
    }

    fn end(&self) {
        let known = || self.follower.hand_over(&self.process.requests);
        self.cache.flush_for_good(&self.process.heap, known);
    }
}

/// Eight blocks a pool each.
fn classes() -> [SizeClass; 2] {
    let nth = |index| SizeClass::all().nth(index).expect("a class");
    [nth(CLASS_COUNT - 2), nth(CLASS_COUNT - 1)]
}

#[test]
fn what_a_thread_held_when_another_asked_goes_back_where_it_comes_by() {
    explore("trim", || {
        let process = Process::new();
        // How often the other thread has come to hold something.
        let holds = Arc::new(Lock::new(0));
        let holder = spawn({
            let (process, holds) = (process.clone(), Arc::clone(&holds));
            move || {
                let owner = process.begin();
                for _ in 0..2 {
                    owner.hold_some();
                    *holds.lock() += 1;
                    owner.come_by();
                }
                owner
            }
        });
        let asking = process.begin();
        let holds_before = [(); 2].map(|()| {
            let holds_before = *holds.lock();
            asking.trim();
            holds_before
        });
        let owner = holder.join().expect("no thread vanishes");
        // Its next slow path, and one more.
        owner.come_by();
        owner.come_by();
        assert!(owner.flushes.get() <= holds_before.len(), "a request is followed twice");
        assert!(!asking.follower.is_asked(&process.requests), "a thread asks itself");
        if holds_before.contains(&2) {
            process.assert_all_is_back();
        }
        owner.end();
        asking.end();
        process.assert_all_is_back();
    });
}

#[test]
fn what_a_thread_leaves_is_taken_over_or_given_back_and_not_left_where_it_was_asked_for() {
    explore("taking over", || {
        let process = Process::new();
        let [class, _] = classes();
        let holds = Arc::new(Lock::new(false));
        let ending = spawn({
            let (process, holds) = (process.clone(), Arc::clone(&holds));
            move || {
                let owner = process.begin();
                let used = owner.alloc(class);
                owner.free(class, used);
                *holds.lock() = true;
                owner.end();
            }
        });
        let beginning = spawn({
            let process = process.clone();
            move || {
                let owner = process.begin();
                let used = owner.cache.pop(class);
                used.into_iter().for_each(|used| owner.free(class, Used(used)));
                owner
            }
        });
        let asking = process.begin();
        let was_held = *holds.lock();
        asking.trim();
        ending.join().expect("no thread vanishes");
        let owner = beginning.join().expect("no thread vanishes");
        let waiting = process.heap.waits(Shard::FIRST);
        assert!(!(was_held && waiting), "asked for, and it waits for a thread");
        owner.come_by();
        let holding = owner.cache.blocks(class) > 0;
        assert!(!(was_held && holding), "asked for, and the next thread has it");
        owner.end();
        asking.end();
        process.assert_all_is_back();
    });
}

#[test]
fn a_thread_that_has_ended_serves_on_and_holds_nothing_while_others_take_what_it_left() {
    explore("late use", || {
        let process = Process::new();
        let [class, other_class] = classes();
        let handed_over = Arc::new(Lock::new(None));
        let ending = spawn({
            let (process, handed_over) = (process.clone(), Arc::clone(&handed_over));
            move || {
                let owner = process.begin();
                let virgin = owner.alloc_virgin(other_class);
                owner.free(other_class, virgin);
                *handed_over.lock() = Some(owner.alloc(class));
                let late = owner.alloc(other_class);
                owner.end();
                owner.free(other_class, late);
                let late = owner.alloc(class);
                owner.free(class, late);
                owner
            }
        });
        let owner = process.begin();
        let virgin = owner.alloc_virgin(class);
        owner.free(class, virgin);
        let used = [owner.alloc(other_class), owner.alloc(other_class)];
        used.into_iter().for_each(|used| owner.free(other_class, used));
        if let Some(block) = handed_over.lock().take() {
            owner.free(class, block);
        }
        let ended = ending.join().expect("no thread vanishes");
        if let Some(block) = handed_over.lock().take() {
            owner.free(class, block);
        }
        // One of them leaves what it holds to the next one, and one gives it back.
        owner.cache.flush(&process.heap);
        owner.end();
        process.assert_all_is_back();
        assert!(classes().iter().all(|class| ended.cache.blocks(*class) == 0));
    });
}
