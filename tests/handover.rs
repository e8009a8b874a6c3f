//! Blocks that threads hand over through atomic places alone, while threads end and others come: with no
//! lock of the standard library in between, what orders two owners of a block is the place or the
//! allocator. So `ci/thread_sanitizer.sh` can run it with a standard library that the sanitizer does
//! not see into.

use std::alloc::{GlobalAlloc, Layout};
use std::array;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread;

#[path = "common/random.rs"]
mod random;

use obmalloc::Obmalloc;
use random::Random;

const ALLOCATOR: Obmalloc = Obmalloc::new();

const WORD: usize = size_of::<usize>();
const THREADS: usize = 4;
const ROUNDS: usize = 5;
const STEPS: usize = 4000;

/// Sizes of small blocks and of large ones that are kept; of each there are places.
const SIZES: [usize; 6] = [8, 48, 104, 512, 1000, 6000];
const PLACES: usize = 40;

/// Places for blocks of one size, each empty or the owner of its block.
struct Places {
    layout: Layout,
    blocks: [AtomicPtr<usize>; PLACES],
}

impl Places {
    fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size, WORD).expect("a possible layout");
        Self { layout, blocks: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())) }
    }

    /// A block whose words all say where it is.
    fn allocate(&self) -> NonNull<usize> {
        // SAFETY: no size is zero.
        let start: *mut usize = unsafe { ALLOCATOR.alloc(self.layout) }.cast();
        let start = NonNull::new(start).expect("memory for a block");
        for index in 0..self.layout.size() / WORD {
            // SAFETY: the word lies in the block.
            let word = unsafe { start.add(index) };
            // SAFETY: the block is this thread's.
            unsafe { word.write(start.addr().get()) };
        }
        start
    }

    fn free(&self, start: NonNull<usize>) {
        for index in 0..self.layout.size() / WORD {
            // SAFETY: the word lies in the block.
            let word = unsafe { start.add(index) };
            // SAFETY: the block is this thread's, and was written as a whole.
            assert_eq!(unsafe { word.read() }, start.addr().get(), "word {index} was overwritten");
        }
        // SAFETY: the block was allocated with this layout, and nothing else refers to it.
        unsafe { ALLOCATOR.dealloc(start.as_ptr().cast(), self.layout) };
    }

    /// Puts a block, or nothing, in the place of another, which is freed.
    fn exchange(&self, place: usize, block: Option<NonNull<usize>>) {
        let block = block.map_or(ptr::null_mut(), NonNull::as_ptr);
        // Hands on what was written to the one, and takes over what was written to the other.
        let before = self.blocks[place].swap(block, Ordering::AcqRel);
        if let Some(before) = NonNull::new(before) {
            self.free(before);
        }
    }
}

fn hand_over(places: &[Places], seed: usize) {
    let mut random = Random::new(seed);
    for step in 0..STEPS {
        let of_size = &places[random.below(places.len())];
        let place = random.below(PLACES);
        let block = (random.below(8) > 0).then(|| of_size.allocate());
        of_size.exchange(place, block);
        if step % (STEPS / 2) == STEPS / 4 {
            ALLOCATOR.trim();
        }
    }
}

#[test]
fn blocks_are_handed_over_without_a_lock() {
    let places: &'static [Places] = Box::leak(Box::new(SIZES.map(Places::new)));
    for round in 0..ROUNDS {
        let threads: [_; THREADS] = array::from_fn(|thread| {
            thread::spawn(move || hand_over(places, THREADS * round + thread))
        });
        for thread in threads {
            thread.join().expect("blocks in order");
        }
    }
    for of_size in places {
        (0..PLACES).for_each(|place| of_size.exchange(place, None));
    }
}
