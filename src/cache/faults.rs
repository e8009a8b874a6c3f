//! A page source that fails. Whichever call it is that the system refuses, and whether it refuses that one
//! alone or all from then on: a request gets null at worst, no block has two owners, every block can be
//! freed, and once the system takes what it is given, all memory goes back to it.
//!
//! Threads are caches over one heap, driven as `thread` drives them. An arena that was released serves again,
//! and must read then as it did when it was given up, so that whoever writes to one after its release is
//! found.

use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use super::*;
use crate::config::{ARENA_BYTES, ArenaBounds, Config, POOL_BYTES};
use crate::os::testing::TestPages;

const THREADS: usize = 4;

/// In each round the threads hold more than four arenas at once, and all of them go back.
const ROUNDS: usize = 42;

/// How often pools are purged depends on how the threads meet. Where the call to fail is not reached in the
/// rounds above, more follow, up to so many.
const ROUNDS_MAX: usize = 10 * ROUNDS;

/// The calls that fail, each in a run of its own, are the first so many of its kind.
const CALLS: usize = 200;

/// In a debug build, only one in so many.
const STEP: usize = if cfg!(debug_assertions) { 20 } else { 1 };

/// What each thread holds in a round, in bytes of a block and blocks: of the first, as many as fill an arena.
const WORK: [(usize, usize); 3] = [(512, 63 * 8), (48, 100), (8, 100)];

/// The heap may have no more, so that what is reserved for an arena and forgotten shows. It needs about half:
/// pools that are about to be purged are nobody's for the moment.
const ARENAS_MAX: usize = 16;

/// After so many nulls a thread asks for no more of a class.
const NULLS_MAX: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Map,
    MapTable,
    Purge,
    Release,
}

/// Which calls of one kind are refused, the first being number 1.
#[derive(Clone, Debug)]
struct Fault {
    call: Call,
    refused: RangeInclusive<usize>,
}

impl Fault {
    fn is_transient(&self) -> bool {
        self.refused.start() == self.refused.end()
    }
}

/// Arenas that no heap has, all zero: to make new ones for each of so many runs would take minutes.
#[derive(Default)]
struct Spares {
    source: TestPages,
    unused: Mutex<Vec<Spare>>,
    /// One was written to after its release.
    is_spoiled: AtomicBool,
}

struct Spare(NonNull<u8>);

// SAFETY: whoever has it is the only one.
unsafe impl Send for Spare {}

impl Spares {
    fn take(&self) -> Option<NonNull<u8>> {
        let spare = self.unused.lock().expect("no panic").pop();
        let Some(Spare(arena)) = spare else { return (&self.source).map() };
        // SAFETY: so many bytes, all written when it was given back.
        let bytes = unsafe { core::slice::from_raw_parts(arena.as_ptr(), ARENA_BYTES) };
        if bytes[0] != 0 || bytes[1..] != bytes[..ARENA_BYTES - 1] {
            self.is_spoiled.store(true, Ordering::SeqCst);
        }
        Some(arena)
    }

    /// Takes an arena back.
    ///
    /// # Safety
    ///
    /// - `arena` came from [`Spares::take`], and nothing refers to it.
    unsafe fn give_back(&self, arena: NonNull<u8>) {
        // SAFETY: the caller owes an arena.
        unsafe { arena.write_bytes(0, ARENA_BYTES) };
        self.unused.lock().expect("no panic").push(Spare(arena));
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        for Spare(arena) in core::mem::take(self.unused.get_mut().expect("no panic")) {
            // SAFETY: it came from this source, and nobody has it.
            unsafe { (&self.source).release(arena) };
        }
    }
}

struct FaultyPages<'a> {
    arenas: &'a Spares,
    /// Tables, and the clock.
    rest: TestPages,
    fault: Fault,
    calls: AtomicUsize,
    refused: AtomicUsize,
    is_lifted: AtomicBool,
    live: AtomicUsize,
}

type FaultyHeap<'a> = Heap<&'a FaultyPages<'a>>;

impl<'a> FaultyPages<'a> {
    fn new(fault: Fault, arenas: &'a Spares) -> Self {
        Self {
            arenas,
            rest: TestPages::default(),
            fault,
            calls: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            is_lifted: AtomicBool::new(false),
            live: AtomicUsize::new(0),
        }
    }

    fn refuses(&self, call: Call) -> bool {
        if call != self.fault.call || self.is_lifted.load(Ordering::SeqCst) {
            return false;
        }
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let refuses = self.fault.refused.contains(&number);
        self.refused.fetch_add(usize::from(refuses), Ordering::SeqCst);
        refuses
    }
}

impl PageSource for &FaultyPages<'_> {
    fn map(&self) -> Option<NonNull<u8>> {
        let arena = if self.refuses(Call::Map) { None } else { self.arenas.take() };
        self.live.fetch_add(usize::from(arena.is_some()), Ordering::SeqCst);
        arena
    }

    fn map_huge(&self) -> Option<NonNull<u8>> {
        None
    }

    unsafe fn populate(&self, _arena: NonNull<u8>) -> bool {
        false
    }

    unsafe fn release(&self, arena: NonNull<u8>) -> bool {
        if self.refuses(Call::Release) {
            return false;
        }
        // SAFETY: the caller owes that `map` gave the arena, and that nothing refers to it.
        unsafe { self.arenas.give_back(arena) };
        self.live.fetch_sub(1, Ordering::SeqCst);
        true
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        let refuses = self.refuses(Call::Purge);
        // What is refused may be done in a part, and is here.
        let bytes = if refuses { POOL_BYTES } else { bytes };
        // SAFETY: the caller owes that these pages, of whole pools, are mapped and unused.
        unsafe { start.write_bytes(0, bytes) };
        !refuses
    }

    fn page_bytes(&self) -> usize {
        POOL_BYTES
    }

    fn milliseconds(&self) -> usize {
        (&self.rest).milliseconds()
    }

    fn map_table(&self) -> Option<NonNull<u8>> {
        if self.refuses(Call::MapTable) { None } else { (&self.rest).map_table() }
    }

    unsafe fn release_table(&self, table: NonNull<u8>) {
        // SAFETY: the caller owes the same.
        unsafe { (&self.rest).release_table(table) }
    }
}

/// A block in use. Both of its ends say whose it is.
struct Held {
    block: NonNull<u8>,
    class: SizeClass,
    stamp: usize,
}

// SAFETY: a block in use belongs to whoever has it, in any thread.
unsafe impl Send for Held {}

/// The first word of a block and the last.
fn ends_of(block: NonNull<u8>, class: SizeClass) -> [NonNull<usize>; 2] {
    // SAFETY: the last word lies in the block.
    let last = unsafe { block.byte_add(class.bytes() - size_of::<usize>()) };
    [block.cast(), last.cast()]
}

fn read_ends(block: NonNull<u8>, class: SizeClass) -> [usize; 2] {
    // SAFETY: words of a block in use, which have been written or came zeroed.
    ends_of(block, class).map(|word| unsafe { word.read() })
}

/// What a thread has seen.
#[derive(Default)]
struct Outcome {
    nulls: usize,
    complaints: Vec<String>,
}

impl Outcome {
    /// No panic, which would leave the other threads waiting.
    fn expect(&mut self, holds: bool, what: &str) {
        if !holds {
            self.complaints.push(what.to_owned());
        }
    }
}

struct Thread<'a> {
    number: usize,
    heap: &'a FaultyHeap<'a>,
    cache: ThreadCache,
    allocated: usize,
    outcome: Outcome,
}

impl<'a> Thread<'a> {
    fn new(number: usize, heap: &'a FaultyHeap<'a>) -> Self {
        let cache = ThreadCache::new();
        // Two shards, so that threads share one and free the other's.
        cache.keep_until_exit(heap, 2, Config::DEFAULT.cache_limits());
        Self { number, heap, cache, allocated: 0, outcome: Outcome::default() }
    }

    fn refill(
        &self,
        class: SizeClass,
        pop: impl Fn(&ThreadCache, SizeClass) -> Option<NonNull<u8>>,
    ) -> Option<NonNull<u8>> {
        pop(&self.cache, class).or_else(|| {
            if !self.cache.refill(self.heap, class) {
                self.cache.flush(self.heap);
                self.heap.empty_depots();
                if !self.cache.refill(self.heap, class) {
                    return None;
                }
            }
            pop(&self.cache, class)
        })
    }

    fn alloc_zeroed(&mut self, class: SizeClass) -> Option<NonNull<u8>> {
        if let Some(block) = self.cache.pop(class) {
            // SAFETY: the block is this thread's, and of this size.
            unsafe { block.write_bytes(0, class.bytes()) };
            return Some(block);
        }
        let block = self.refill(class, ThreadCache::pop_reserve_zeroed)?;
        self.outcome.expect(read_ends(block, class) == [0; 2], "a zeroed block is not zero");
        Some(block)
    }

    /// A block, zeroed each other time.
    fn alloc(&mut self, class: SizeClass) -> Option<Held> {
        let block = if self.allocated.is_multiple_of(2) {
            self.alloc_zeroed(class)
        } else {
            self.cache.pop(class).or_else(|| self.refill(class, ThreadCache::pop_reserve))
        };
        self.allocated += 1;
        let stamp = self.allocated * THREADS + self.number;
        self.outcome.nulls += usize::from(block.is_none());
        let block = block?;
        for word in ends_of(block, class) {
            // SAFETY: a word of this thread's block.
            unsafe { word.write(stamp) };
        }
        Some(Held { block, class, stamp })
    }

    fn alloc_all(&mut self) -> Vec<Held> {
        let mut held = Vec::new();
        for (bytes, count) in WORK {
            let class = SizeClass::all().find(|class| class.bytes() == bytes).expect("a class");
            let nulls_before = self.outcome.nulls;
            for _ in 0..count {
                held.extend(self.alloc(class));
                if self.outcome.nulls == nulls_before + NULLS_MAX {
                    break;
                }
            }
        }
        held
    }

    fn free(&mut self, held: Held) {
        let Held { block, class, stamp } = held;
        let is_ours = read_ends(block, class) == [stamp; 2];
        self.outcome.expect(is_ours, "a block was overwritten, or has two owners");
        // SAFETY: the block is of this heap and class, and its owner gives it up.
        if !unsafe { self.cache.push(block, class) } {
            // SAFETY: as above; it was not taken.
            unsafe { self.cache.push_full(self.heap, block, class) }
        }
    }

    /// Frees all but every sixteenth, so that of the largest class each other pool stays in use.
    fn free_most(&mut self, held: Vec<Held>) -> Vec<Held> {
        let mut kept = Vec::new();
        for (number, block) in held.into_iter().enumerate() {
            if number.is_multiple_of(16) {
                kept.push(block);
            } else {
                self.free(block);
            }
        }
        self.cache.flush(self.heap);
        kept
    }

    fn end(&mut self) {
        let is_valid = SizeClass::all().all(|class| self.cache.is_valid(class));
        self.outcome.expect(is_valid, "a cache in disorder");
        self.cache.flush_for_good(self.heap, || Some(0));
    }
}

/// What all threads have in common.
struct Common<'a> {
    pages: &'a FaultyPages<'a>,
    all_there: Barrier,
    handed_over: [Mutex<Vec<Held>>; THREADS],
}

impl Common<'_> {
    /// Whether another round follows; all threads are told the same, as none calls the source meanwhile.
    fn goes_on(&self, rounds: usize) -> bool {
        self.all_there.wait();
        let has_come_to_pass = self.pages.refused.load(Ordering::SeqCst) > 0;
        self.all_there.wait();
        rounds < ROUNDS || rounds < ROUNDS_MAX && !has_come_to_pass
    }
}

fn run_thread(number: usize, heap: &FaultyHeap, common: &Common) -> Outcome {
    let mut thread = Thread::new(number, heap);
    let handed_to = |number: usize| common.handed_over[number % THREADS].lock().expect("no panic");
    let mut rounds = 0;
    while common.goes_on(rounds) {
        let held = thread.alloc_all();
        common.all_there.wait();
        let kept = thread.free_most(held);
        common.all_there.wait();
        if number.is_multiple_of(2) {
            heap.release_free();
        } else {
            // Others purge between the used pools meanwhile.
            let held = thread.alloc_all();
            thread.outcome.expect(heap.is_valid(), "a heap in disorder");
            held.into_iter().for_each(|block| thread.free(block));
        }
        *handed_to(number + 1) = kept;
        common.all_there.wait();
        let foreign = core::mem::take(&mut *handed_to(number));
        foreign.into_iter().for_each(|block| thread.free(block));
        if rounds % THREADS == number {
            thread.end();
            thread.cache.keep_until_exit(heap, 2, Config::DEFAULT.cache_limits());
        }
        thread.cache.flush(heap);
        common.all_there.wait();
        heap.empty_depots();
        heap.release_free();
        rounds += 1;
    }
    thread.end();
    thread.outcome
}

/// Runs the threads with the fault, and then looks at what they leave.
fn survive(fault: Fault, arenas: &Spares) {
    let pages = FaultyPages::new(fault.clone(), arenas);
    let heap = Heap::new(&pages);
    heap.arenas().keep_to(ArenaBounds { most: Some(ARENAS_MAX), ..ArenaBounds::NONE });
    let common =
        Common { pages: &pages, all_there: Barrier::new(THREADS), handed_over: Default::default() };
    let mut nulls = 0;
    std::thread::scope(|scope| {
        let (heap, common) = (&heap, &common);
        let run = |number| scope.spawn(move || run_thread(number, heap, common));
        for thread in [0, 1, 2, 3].map(run) {
            let outcome = thread.join().expect("no panic");
            assert_eq!(outcome.complaints, [""; 0], "{fault:?}");
            nulls += outcome.nulls;
        }
    });
    let refused = pages.refused.load(Ordering::SeqCst);
    assert!(refused > 0, "{fault:?} has not come to pass in {:?} calls", pages.calls);
    // One refusal is made up for by a second try; nothing makes up for memory that there is not.
    let lasts = !fault.is_transient() && matches!(fault.call, Call::Map | Call::MapTable);
    assert!(if lasts { nulls > 0 } else { nulls == 0 }, "{fault:?}: {nulls} nulls");

    assert!(heap.is_valid(), "{fault:?}");
    pages.is_lifted.store(true, Ordering::SeqCst);
    let mut thread = Thread::new(0, &heap);
    let held: Vec<Held> = SizeClass::all().filter_map(|class| thread.alloc(class)).collect();
    assert_eq!(held.len(), CLASS_COUNT, "{fault:?}");
    held.into_iter().for_each(|block| thread.free(block));
    thread.end();
    assert_eq!(thread.outcome.complaints, [""; 0], "{fault:?}");
    heap.empty_depots();
    heap.release_free();
    assert!(heap.is_valid(), "{fault:?}");
    let (left, mapped) = (pages.live.load(Ordering::SeqCst), heap.arenas().mapped_bytes());
    assert_eq!((left, mapped), (0, 0), "{fault:?}: arenas that never went back");
    let is_spoiled = arenas.is_spoiled.load(Ordering::SeqCst);
    assert!(!is_spoiled, "{fault:?}: an arena was written to after its release");
}

fn survive_each(call: Call, calls: usize, step: usize) {
    let arenas = Spares::default();
    for first in (1..=calls).step_by(step) {
        for last in [first, usize::MAX] {
            survive(Fault { call, refused: first..=last }, &arenas);
        }
    }
}

#[test]
fn an_arena_that_is_not_mapped_costs_nothing_but_itself() {
    survive_each(Call::Map, CALLS, STEP);
}

#[test]
fn an_arena_that_is_not_released_is_used_again_and_released_later() {
    survive_each(Call::Release, CALLS, STEP);
}

#[test]
fn pools_that_are_not_purged_are_used_as_they_are() {
    survive_each(Call::Purge, CALLS, STEP);
}

/// The map of pools needs two tables for the first arena.
#[test]
fn an_arena_whose_table_is_not_mapped_is_not_used() {
    survive_each(Call::MapTable, 2, 1);
}
