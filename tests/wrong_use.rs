//! Debug builds notice wrong use at once: what is freed or resized that is no block, is none any more, or is
//! one of another layout; requests of no bytes; a signal handler that allocates while its thread does. Each
//! aborts with one line on stderr that says what the block is and what the layout was.
#![cfg(all(target_os = "linux", debug_assertions, not(obmalloc_no_arenas)))]

#[path = "common/child.rs"]
mod child;

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::ptr;
use std::thread;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const fn layout(size: usize, align: usize) -> Layout {
    match Layout::from_size_align(size, align) {
        Ok(layout) => layout,
        Err(_) => panic!("no layout"),
    }
}

/// A size that nothing else in these processes asks for.
const BLOCK: Layout = layout(488, 8);

fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: these processes find out what comes of a size of zero.
    let block = unsafe { GLOBAL.alloc(layout) };
    assert!(!block.is_null());
    block
}

fn free(block: *mut u8, layout: Layout) {
    // SAFETY: breaks the rule where the process wants it broken.
    unsafe { GLOBAL.dealloc(block, layout) };
}

fn resize(block: *mut u8, layout: Layout, new_size: usize) {
    // SAFETY: breaks the rule where the process wants it broken.
    black_box(unsafe { GLOBAL.realloc(block, layout, new_size) });
}

/// A pointer that may go to another thread.
#[derive(Clone, Copy)]
struct Shared(*mut u8);

// SAFETY: only the address is passed on, to be freed.
unsafe impl Send for Shared {}

impl Shared {
    fn free_in_thread_that_ends(self) {
        let free_it = move || {
            // All of it, which may go to another thread, and not the pointer in it.
            let shared: Self = self;
            free(shared.0, BLOCK);
        };
        thread::spawn(free_it).join().expect("no panic");
    }
}

/// Runs `body` in a process of its own, which has to abort with one line of the allocator's that has all of
/// `parts` in it.
#[track_caller]
fn aborts(test: &str, parts: &[&str], body: fn()) {
    let ended = child::run(test, body);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{test}: {}\n{lines:?}", ended.status);
    assert_eq!(lines.len(), 1, "{test}: {lines:?}");
    assert!(lines[0].starts_with("obmalloc: "), "{test}: {lines:?}");
    for part in parts {
        assert!(lines[0].contains(part), "{test}: {part:?} is not in {:?}", lines[0]);
    }
}

#[test]
fn right_use_is_none_of_this() {
    child::passes("right_use_is_none_of_this", || {
        let aligned = alloc(layout(40, 64));
        let (small, large) = (alloc(BLOCK), alloc(layout(5000, 8)));
        resize(aligned, layout(40, 64), 60);
        Shared(small).free_in_thread_that_ends();
        free(large, layout(5000, 8));
        // SAFETY: a size other than zero.
        let zeroed = unsafe { GLOBAL.alloc_zeroed(BLOCK) };
        free(zeroed, BLOCK);
    });
}

#[test]
fn a_block_freed_with_the_layout_of_another_class() {
    let parts = ["block of 488 bytes", "freed with a layout of 480 bytes aligned to 8"];
    aborts("a_block_freed_with_the_layout_of_another_class", &parts, || {
        free(alloc(BLOCK), layout(480, 8));
    });
}

#[test]
fn a_block_freed_with_another_alignment() {
    let parts = ["block of 48 bytes", "freed with a layout of 40 bytes aligned to 8"];
    aborts("a_block_freed_with_another_alignment", &parts, || {
        free(alloc(layout(40, 16)), layout(40, 8));
    });
}

#[test]
fn a_small_block_freed_as_a_large_one() {
    let parts = ["block of 488 bytes", "freed with a layout of 600 bytes aligned to 8"];
    aborts("a_small_block_freed_as_a_large_one", &parts, || {
        free(alloc(BLOCK), layout(600, 8));
    });
}

#[test]
fn a_small_block_freed_as_one_too_large_to_be_kept() {
    let parts = ["block of 488 bytes", "freed with a layout of 100000 bytes aligned to 8"];
    aborts("a_small_block_freed_as_one_too_large_to_be_kept", &parts, || {
        free(alloc(BLOCK), layout(100_000, 8));
    });
}

#[test]
fn a_large_block_freed_as_a_small_one() {
    let parts = ["which is no small block", "freed with a layout of 24 bytes aligned to 8"];
    aborts("a_large_block_freed_as_a_small_one", &parts, || {
        free(alloc(layout(600, 8)), layout(24, 8));
    });
}

#[cfg(target_env = "gnu")]
#[test]
fn a_large_block_freed_with_the_layout_of_another_class() {
    let parts = ["large block of", "with a layout of 20000 bytes aligned to 8"];
    aborts("a_large_block_freed_with_the_layout_of_another_class", &parts, || {
        free(alloc(layout(600, 8)), layout(20_000, 8));
    });
}

#[test]
fn a_block_freed_twice_in_a_row() {
    let parts = ["which is not in use", "freed with a layout of 488 bytes aligned to 8"];
    aborts("a_block_freed_twice_in_a_row", &parts, || {
        let block = alloc(BLOCK);
        free(block, BLOCK);
        free(block, BLOCK);
    });
}

/// The smallest block has room for nothing but its link.
#[test]
fn a_block_of_eight_bytes_freed_twice() {
    let parts = ["which is not in use", "freed with a layout of 8 bytes aligned to 8"];
    aborts("a_block_of_eight_bytes_freed_twice", &parts, || {
        let block = alloc(layout(8, 8));
        free(block, layout(8, 8));
        free(block, layout(8, 8));
    });
}

#[test]
fn a_block_freed_twice_much_later() {
    aborts("a_block_freed_twice_much_later", &["which is not in use"], || {
        let kept = alloc(BLOCK);
        let block = alloc(BLOCK);
        free(block, BLOCK);
        let others: Vec<usize> =
            (0..10_000).map(|_| alloc(layout(64, 8)).expose_provenance()).collect();
        for other in others {
            free(ptr::with_exposed_provenance_mut(other), layout(64, 8));
        }
        free(block, BLOCK);
        free(kept, BLOCK);
    });
}

#[test]
fn a_block_freed_twice_by_two_threads() {
    aborts("a_block_freed_twice_by_two_threads", &["which is not in use"], || {
        let kept = alloc(BLOCK);
        let block = alloc(BLOCK);
        Shared(block).free_in_thread_that_ends();
        free(block, BLOCK);
        free(kept, BLOCK);
    });
}

#[test]
fn a_block_freed_twice_by_threads_that_have_ended() {
    aborts("a_block_freed_twice_by_threads_that_have_ended", &["which is not in use"], || {
        let kept = alloc(BLOCK);
        let block = alloc(BLOCK);
        Shared(block).free_in_thread_that_ends();
        Shared(block).free_in_thread_that_ends();
        free(kept, BLOCK);
    });
}

/// The block's memory serves another size by then, or none.
#[test]
fn a_block_freed_after_its_memory_went_back() {
    aborts("a_block_freed_after_its_memory_went_back", &["freed with a layout of 488"], || {
        let block = alloc(BLOCK);
        free(block, BLOCK);
        let _ = GLOBAL.trim();
        free(block, BLOCK);
    });
}

#[test]
fn a_block_resized_after_its_free() {
    let parts = ["which is not in use", "resized with a layout of 488 bytes aligned to 8"];
    aborts("a_block_resized_after_its_free", &parts, || {
        let block = alloc(BLOCK);
        free(block, BLOCK);
        resize(block, BLOCK, 487);
    });
}

#[test]
fn a_block_resized_with_another_layout() {
    let parts = ["block of 488 bytes", "resized with a layout of 40 bytes aligned to 8"];
    aborts("a_block_resized_with_another_layout", &parts, || {
        resize(alloc(BLOCK), layout(40, 8), 39);
    });
}

#[test]
fn memory_that_is_no_block() {
    let parts = ["which is no small block", "freed with a layout of 64 bytes aligned to 8"];
    aborts("memory_that_is_no_block", &parts, || {
        let mut local = [0_u64; 8];
        free(black_box(&raw mut local).cast(), Layout::new::<[u64; 8]>());
    });
}

#[test]
fn null_freed_as_a_small_block() {
    let parts = ["obmalloc: 0x0", "freed with a layout of 64 bytes"];
    aborts("null_freed_as_a_small_block", &parts, || free(ptr::null_mut(), layout(64, 8)));
}

#[test]
fn null_freed_as_a_large_block() {
    let parts = ["obmalloc: 0x0", "freed with a layout of 6400 bytes"];
    aborts("null_freed_as_a_large_block", &parts, || free(ptr::null_mut(), layout(6400, 8)));
}

#[test]
fn the_middle_of_a_block() {
    let parts = ["which is 8 bytes inside of a block of 488 bytes", "freed with a layout of 488"];
    aborts("the_middle_of_a_block", &parts, || {
        free(alloc(BLOCK).wrapping_add(8), BLOCK);
    });
}

#[test]
fn a_request_of_no_bytes() {
    let parts = ["requested a layout of 0 bytes aligned to 16"];
    aborts("a_request_of_no_bytes", &parts, || {
        black_box(alloc(layout(0, 16)));
    });
}

#[test]
fn a_zeroed_request_of_no_bytes() {
    let parts = ["requested a layout of 0 bytes aligned to 1"];
    aborts("a_zeroed_request_of_no_bytes", &parts, || {
        // SAFETY: this process finds out what comes of it.
        black_box(unsafe { GLOBAL.alloc_zeroed(layout(0, 1)) });
    });
}

#[test]
fn no_bytes_that_are_freed() {
    let parts = ["block of 488 bytes", "freed with a layout of 0 bytes aligned to 8"];
    aborts("no_bytes_that_are_freed", &parts, || free(alloc(BLOCK), layout(0, 8)));
}

#[test]
fn a_block_resized_to_no_bytes() {
    aborts("a_block_resized_to_no_bytes", &["resized to no bytes"], || {
        resize(alloc(BLOCK), BLOCK, 0)
    });
}

extern "C" fn allocate_in_handler(_signal: libc::c_int) {
    free(alloc(BLOCK), BLOCK);
    free(alloc(layout(100_000, 8)), layout(100_000, 8));
}

fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: the handler is a function of this type; what it does is what these processes find out.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

/// Does `work` again and again, and has a handler allocate at any moment of it. It may do so a number of times, as
/// long as it does not interrupt the allocator.
fn allocate_at_any_moment_of(work: impl Fn()) -> ! {
    const MICROSECONDS: libc::suseconds_t = 50;

    handle(libc::SIGVTALRM, allocate_in_handler);
    let period = libc::timeval { tv_sec: 0, tv_usec: MICROSECONDS };
    let timer = libc::itimerval { it_interval: period, it_value: period };
    // SAFETY: the timer is valid, and the old one is not asked for.
    let set = unsafe { libc::setitimer(libc::ITIMER_VIRTUAL, &raw const timer, ptr::null_mut()) };
    assert_eq!(set, 0);
    loop {
        work();
    }
}

const INSIDE: &str =
    "the allocator was called while it ran in the same thread, as by a signal handler";

#[test]
fn a_signal_handler_that_allocates_while_its_thread_does() {
    aborts("a_signal_handler_that_allocates_while_its_thread_does", &[INSIDE], || {
        allocate_at_any_moment_of(|| free(black_box(alloc(BLOCK)), BLOCK));
    });
}

#[test]
fn a_signal_handler_that_allocates_while_its_thread_passes_requests_on() {
    let test = "a_signal_handler_that_allocates_while_its_thread_passes_requests_on";
    aborts(test, &[INSIDE], || {
        let large = layout(100_000, 8);
        allocate_at_any_moment_of(|| free(black_box(alloc(large)), large));
    });
}

#[test]
fn a_signal_handler_that_allocates_while_its_thread_trims() {
    aborts("a_signal_handler_that_allocates_while_its_thread_trims", &[INSIDE], || {
        allocate_at_any_moment_of(|| {
            black_box(GLOBAL.trim());
        });
    });
}

#[test]
fn a_signal_handler_that_allocates_while_its_thread_looks_at_the_heap() {
    aborts("a_signal_handler_that_allocates_while_its_thread_looks_at_the_heap", &[INSIDE], || {
        allocate_at_any_moment_of(|| {
            black_box(GLOBAL.stats());
        });
    });
}

/// A handler of the signal that ends the process may allocate, as a crash reporter does, and be refused: that
/// is said, too, and the process ends.
#[test]
fn a_handler_of_the_abort_that_allocates_does_not_hinder_it() {
    extern "C" fn misuse_in_handler(_signal: libc::c_int) {
        let block = alloc(BLOCK);
        free(block, BLOCK);
        free(block, BLOCK);
    }

    let ended = child::run("a_handler_of_the_abort_that_allocates_does_not_hinder_it", || {
        handle(libc::SIGABRT, misuse_in_handler);
        let block = alloc(BLOCK);
        free(block, BLOCK);
        free(block, BLOCK);
    });
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}\n{lines:?}", ended.status);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("which is not in use")), "{lines:?}");
}
