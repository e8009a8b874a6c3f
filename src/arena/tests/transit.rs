//! What a thread takes out of the lists, and others meanwhile: those that want a pool, and those that fork.

use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::*;

type TestArenas = Arenas<&'static TestPages>;

/// Long enough for a thread that does not wait to be done.
const FOR_A_WHILE: Duration = Duration::from_millis(30);

fn leak() -> (&'static TestPages, &'static TestArenas) {
    let pages: &TestPages = Box::leak(Box::default());
    (pages, Box::leak(Box::new(Arenas::new(pages))))
}

/// What another thread does while the system does something.
type Meanwhile = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// Has another thread `act` while the next purge or mapping is under way, and sees that it is not done before that has
/// ended. Its answer is the thread's.
fn act_during<R: Send + 'static>(
    call: &Meanwhile,
    act: impl FnOnce() -> R + Send + 'static,
) -> mpsc::Receiver<JoinHandle<R>> {
    let (threads, thread) = mpsc::channel();
    *call.lock().expect("no panic before") = Some(Box::new(move || {
        let (done, is_done) = mpsc::channel();
        let acting = thread::spawn(move || {
            let result = act();
            // Nobody listens any more, where it was not done in time, as it should not be.
            let _ = done.send(());
            result
        });
        assert_eq!(is_done.recv_timeout(FOR_A_WHILE), Err(RecvTimeoutError::Timeout));
        threads.send(acting).expect("the test waits for it");
    }));
    thread
}

/// Whether there is a pool, which goes back.
fn takes_and_gives(arenas: &TestArenas) -> bool {
    take_pool(arenas).is_some_and(|(pool, _)| {
        give(arenas, [pool]);
        true
    })
}

/// All pools of so many arenas, of each of which one is kept and the others are free.
fn sparse(arenas: &TestArenas, count: usize) -> Vec<Pool> {
    let pools = take(arenas, 63 * count);
    let (kept, given): (Vec<_>, Vec<_>) =
        pools.into_iter().enumerate().partition(|(number, _)| number % 63 == 0);
    give(arenas, given.into_iter().map(|(_, pool)| pool));
    kept.into_iter().map(|(_, pool)| pool).collect()
}

#[test]
fn a_thread_that_may_map_no_more_waits_for_pools_that_another_purges() {
    for refuses in [false, true] {
        let (pages, arenas) = leak();
        if refuses {
            pages.most.store(2, Ordering::SeqCst);
        } else {
            arenas.keep_to(ArenaBounds { most: Some(2), ..ArenaBounds::NONE });
        }
        let kept = sparse(arenas, 2);
        let others = act_during(&pages.during_purge, || takes_and_gives(arenas));
        arenas.release_free();
        let other = others.recv().expect("a purge was under way");
        assert!(other.join().expect("no panic"), "null with 124 of 126 pools free");
        assert!(arenas.lists.lock().transit.is_over());
        give(arenas, kept);
        arenas.release_free();
        assert_eq!(pages.live(), 0);
    }
}

#[test]
fn a_thread_that_is_refused_waits_for_the_arena_that_another_got() {
    let (pages, arenas) = leak();
    pages.most.store(1, Ordering::SeqCst);
    let others = act_during(&pages.during_map, || takes_and_gives(arenas));
    let pools = take(arenas, 1);
    let other = others.recv().expect("an arena was mapped");
    assert!(other.join().expect("no panic"), "null with 62 of 63 pools free");
    give(arenas, pools);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn an_arena_that_is_not_released_yet_counts_as_mapped() {
    let (pages, arenas) = leak();
    arenas.keep_to(ArenaBounds { most: Some(4), ..ArenaBounds::NONE });
    give(arenas, take(arenas, 63 * 4));
    let leaving = arenas.lists.lock().unlink_empty(1, usize::MAX);
    let pools = take(arenas, 63);
    let mut lists = arenas.lists.lock();
    assert!(lists.is_at_bound() && lists.begin_mapping().is_none() && lists.transit.is_awaited());
    drop(lists);
    // What the system does not take is one of the four again.
    pages.refuses_release.store(true, Ordering::SeqCst);
    arenas.release(leaving);
    assert_eq!((arenas.mapped_bytes(), pages.live()), (4 * ARENA_BYTES, 4));
    assert!(arenas.lists.lock().transit.is_over());
    pages.refuses_release.store(false, Ordering::SeqCst);
    arenas.release_free();
    // Nor is what has gone any of them.
    let more = take(arenas, 63 * 3);
    assert!(take_pool(arenas).is_none());
    give(arenas, pools.into_iter().chain(more));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn a_fork_waits_for_what_is_in_transit() {
    let (pages, arenas) = leak();
    let kept = sparse(arenas, 40);
    let forks = act_during(&pages.during_purge, || {
        arenas.halt();
        let is_at_rest = arenas.is_at_rest();
        arenas.lock_for_fork();
        // SAFETY: closed above.
        unsafe { arenas.unlock_after_fork() };
        is_at_rest
    });
    arenas.release_free();
    let fork = forks.recv().expect("a purge was under way");
    assert!(fork.join().expect("no panic"));
    assert!(!arenas.lists.lock().transit.is_awaited());
    give(arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn what_is_not_released_yet_comes_back_for_a_fork() {
    let (pages, arenas) = leak();
    give(arenas, take(arenas, 63 * 5));
    let leaving = arenas.lists.lock().unlink_empty(0, usize::MAX);
    assert!(leaving.is_some() && !arenas.is_at_rest());
    arenas.lists.lock().transit.halt();
    assert_eq!(arenas.release(leaving), 0);
    assert!(arenas.is_at_rest() && arenas.lists.lock().is_valid());
    assert_eq!((arenas.mapped_bytes(), pages.live()), (5 * ARENA_BYTES, 5));
    arenas.lists.lock().transit.resume();
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

/// Else a request that has all given back, and would find memory then, gets null.
#[test]
fn who_gives_back_all_waits_for_a_fork_and_goes_on_after_one() {
    let (pages, arenas) = leak();
    let kept = sparse(arenas, 40);
    arenas.halt();
    let (said, hears) = mpsc::channel();
    let gives_back = thread::spawn(move || {
        let bytes = arenas.release_free();
        // Nobody listens any more, where it did not wait, as it should.
        let _ = said.send(());
        bytes
    });
    assert_eq!(hears.recv_timeout(FOR_A_WHILE), Err(RecvTimeoutError::Timeout));
    arenas.lock_for_fork();
    // SAFETY: closed above.
    unsafe { arenas.unlock_after_fork() };
    assert_eq!(gives_back.join().expect("no panic"), 40 * 62 * POOL_BYTES);
    // One that comes in the middle: of the arenas some are claimed at once, the rest when it has gone.
    let pools = take(arenas, 40 * 62);
    give(arenas, pools);
    let forks = act_during(&pages.during_purge, || {
        arenas.halt();
        arenas.lock_for_fork();
        // SAFETY: closed above.
        unsafe { arenas.unlock_after_fork() };
    });
    assert_eq!(arenas.release_free(), 40 * 62 * POOL_BYTES);
    forks.recv().expect("a purge was under way").join().expect("no panic");
    give(arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn nothing_begins_while_a_fork_waits() {
    let (pages, arenas) = leak();
    give(arenas, take(arenas, 63 * 3));
    let kept = sparse(arenas, 2);
    let idle_before = idle(arenas);
    arenas.lists.lock().transit.halt();
    let order = ClaimOrder::SparsestFirst;
    assert_eq!(arenas.purge_idle(usize::MAX, order), 0);
    let mut lists = arenas.lists.lock();
    assert!(lists.begin_mapping().is_none());
    assert!(lists.unlink_empty(0, 1).is_none() && lists.unlink_staying(1).is_none());
    assert!(lists.transit.is_over() && lists.transit.is_awaited());
    lists.transit.resume();
    assert!(!lists.transit.is_awaited());
    drop(lists);
    assert_eq!((idle(arenas), pages.purges.load(Ordering::SeqCst)), (idle_before, 0));
    give(arenas, kept);
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

/// Or else the lock would be held for as long as the heap is large.
#[test]
fn where_pages_are_large_no_search_for_free_ones_looks_at_all_arenas() {
    let pages = TestPages::default();
    pages.page_bytes.store(4 * POOL_BYTES, Ordering::SeqCst);
    let arenas = Arenas::new(&pages);
    let pools = take(&arenas, 63 * (CLAIM_STEPS_MAX + 2));
    // Of each arena a pool is idle, of the oldest a page.
    let is_given = |number: usize, pool: &Pool| match number / 63 {
        0 => pool.index() / 4 == 2,
        _ => pool.index() == 9,
    };
    let (given, kept): (Vec<_>, Vec<_>) =
        pools.into_iter().enumerate().partition(|(number, pool)| is_given(*number, pool));
    give(&arenas, given.into_iter().map(|(_, pool)| pool));
    let claim = || {
        let mut claims = [const { None }; CLAIMS_MAX];
        let mut lists = arenas.lists.lock();
        let order = ClaimOrder::SparsestFirst;
        let claimed = lists.claim_idle(order, usize::MAX, 4, &mut claims);
        claims.iter().flatten().for_each(|claim| {
            lists.settle(claim, false, 0);
        });
        claimed
    };
    assert_eq!([claim(), claim()], [0, 4], "the next one goes on");
    arenas.lists.lock().hand = None;
    assert_eq!(arenas.release_free(), 4 * POOL_BYTES, "all that can go goes");
    give(&arenas, kept.into_iter().map(|(_, pool)| pool));
    arenas.release_free();
    assert_eq!(pages.live(), 0);
}

#[test]
fn what_comes_back_for_a_fork_is_no_growth() {
    let (_pages, arenas) = leak();
    arenas.keep_to(ArenaBounds { soft: Some(4), ..ArenaBounds::NONE });
    let pools = take(arenas, 63 * 5);
    assert!(arenas.news().take_pressure());
    give(arenas, pools);
    let leaving = arenas.lists.lock().unlink_empty(0, usize::MAX);
    arenas.lists.lock().transit.halt();
    arenas.release(leaving);
    arenas.lists.lock().transit.resume();
    assert_eq!(arenas.mapped_bytes(), 5 * ARENA_BYTES);
    let pools = take(arenas, 63 * 6);
    assert!(!arenas.news().take_pressure(), "told again, and never were fewer mapped");
    give(arenas, pools);
    arenas.release_free();
    // Where they are gone it is.
    let pools = take(arenas, 63 * 5);
    assert!(arenas.news().take_pressure());
    give(arenas, pools);
    arenas.release_free();
}
