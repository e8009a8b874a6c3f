//! Shapes in which allocators grow although the program does not: blocks that one thread allocates and
//! another frees, and memory that served one size and is to serve another.
#![cfg(all(target_os = "linux", not(obmalloc_no_arenas)))]

#[path = "common/chain.rs"]
mod chain;
#[path = "common/child.rs"]
mod child;
#[path = "common/rss.rs"]
mod rss;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use chain::Chain;
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const BATCH: usize = 60_000;
const SIZE: usize = 48;
const ROUNDS: usize = 10;

fn batch() -> Chain {
    let mut chain = Chain::new(SIZE);
    (0..BATCH).for_each(|_| assert!(chain.push()));
    chain
}

/// A thread that answers each chain with what `work` makes of it, and otherwise sleeps.
fn worker(work: fn(Option<Chain>) -> Chain) -> (Sender<Option<Chain>>, Receiver<Chain>) {
    let ((ask, asked), (answer, answered)) = (channel::<Option<Chain>>(), channel());
    thread::spawn(move || {
        for chain in asked {
            answer.send(work(chain)).expect("someone waits");
        }
    });
    (ask, answered)
}

fn turn((ask, answered): &(Sender<Option<Chain>>, Receiver<Chain>), chain: Option<Chain>) -> Chain {
    ask.send(chain).expect("the thread lives");
    answered.recv().expect("the thread answers")
}

/// The resident bytes that were added by `run`, which is given threads that have allocated before.
fn growth(
    threads: usize,
    work: fn(Option<Chain>) -> Chain,
    run: impl FnOnce(&[(Sender<Option<Chain>>, Receiver<Chain>)]),
) -> usize {
    let workers: Vec<_> = (0..threads).map(|_| worker(work)).collect();
    for worker in &workers {
        drop(turn(worker, None));
    }
    GLOBAL.trim();
    let before = rss::resident_bytes();
    run(&workers);
    let grown = rss::resident_bytes().saturating_sub(before);
    println!("{:.2} batches held", grown as f64 / (BATCH * SIZE) as f64);
    grown
}

#[test]
fn threads_that_free_what_the_one_before_them_allocated_hold_little_more_than_one_batch() {
    let test =
        "threads_that_free_what_the_one_before_them_allocated_hold_little_more_than_one_batch";
    let said = child::passes(test, || {
        let free_and_allocate = |chain: Option<Chain>| {
            drop(chain);
            batch()
        };
        let mut live = None;
        let grown = growth(8, free_and_allocate, |workers| {
            for worker in workers.iter().cycle().take(ROUNDS * workers.len()) {
                live = Some(turn(worker, live.take()));
            }
        });
        assert!(grown < 3 * BATCH * SIZE, "{grown} bytes held for one batch");
        drop(live);
    });
    print!("{said}");
}

#[test]
fn threads_that_give_their_blocks_away_and_sleep_hold_little() {
    let said = child::passes("threads_that_give_their_blocks_away_and_sleep_hold_little", || {
        let grown = growth(
            16,
            |_| batch(),
            |workers| {
                for worker in workers.iter().cycle().take(ROUNDS * workers.len()) {
                    drop(turn(worker, None));
                }
            },
        );
        assert!(grown < 3 * BATCH * SIZE, "{grown} bytes held for nothing");
    });
    print!("{said}");
}

#[test]
fn what_one_size_leaves_between_its_last_blocks_serves_another() {
    let said = child::passes("what_one_size_leaves_between_its_last_blocks_serves_another", || {
        const FIRST: usize = 400_000;
        let before = rss::resident_bytes();
        let mut kept = Vec::with_capacity(FIRST / 64);
        let mut rest = Chain::new(64);
        for number in 0..FIRST {
            if number % 64 == 0 {
                kept.push(Box::new([1_u64; 8]));
            } else {
                assert!(rest.push());
            }
        }
        drop(rest);
        let mut second = Chain::new(192);
        (0..FIRST / 4).for_each(|_| assert!(second.push()));
        let held = rss::resident_bytes() - before;
        let live = kept.len() * 64 + FIRST / 4 * 192;
        println!("{:.2} of what is live", held as f64 / live as f64);
        assert!(held * 10 < live * 24, "{held} bytes held for {live}");
        drop(second);
    });
    print!("{said}");
}
