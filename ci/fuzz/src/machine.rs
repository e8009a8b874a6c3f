//! What carries out a program: it passes from thread to thread, so that one at a time has it and every
//! run of an input is the same.

use std::alloc::Layout;

use obmalloc::Obmalloc;

use crate::blocks::Block;
use crate::model::Model;
use crate::program::{Program, Step};
use crate::zeroed_blocks::allocate_zeroed;

const ALLOCATOR: Obmalloc = Obmalloc::new();

/// Bytes that may live at a time: what would go beyond is not asked for.
const LIVE_BYTES_MAX: usize = 1 << 20;

/// Bytes that one request of several blocks is for at most, since to fill large ones takes the time of many
/// small ones.
const REQUEST_BYTES_MAX: usize = 32 << 10;

/// Requests that one program makes at most, to bound its time.
const REQUESTS_MAX: usize = 1000;

/// Why this thread is to carry on no further.
pub enum Stop {
    Go { thread: usize },
    End { thread: usize },
}

/// A program, and the blocks that it has.
pub struct Machine {
    program: Program,
    model: Model,
    requests: usize,
}

impl Machine {
    pub fn new(input: &[u8]) -> Self {
        Self { program: Program::new(input), model: Model::new(), requests: 0 }
    }

    /// Carries out the program in this thread, up to where another is to go on, or to its end.
    pub fn run(&mut self) -> Option<Stop> {
        while self.requests < REQUESTS_MAX {
            match self.program.next()? {
                Step::Go { thread } => return Some(Stop::Go { thread }),
                Step::End { thread } => return Some(Stop::End { thread }),
                step => self.step(step),
            }
        }
        None
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Alloc { layout, count } => {
                self.allocate(layout, count, |owner| Block::allocate(&ALLOCATOR, layout, owner));
            }
            Step::AllocZeroed { layout, count } => {
                self.allocate(layout, count, |owner| allocate_zeroed(&ALLOCATOR, layout, owner));
            }
            Step::Free { which, count, backwards } => {
                let mut blocks = self.model.take(which, count);
                if backwards {
                    blocks.reverse();
                }
                self.free(blocks);
            }
            Step::FreeStrided { stride } => {
                let blocks = self.model.take_strided(stride);
                self.free(blocks);
            }
            Step::Realloc { which, new_size } => {
                for block in self.model.take(which, 1) {
                    let resized = block.resize(&ALLOCATOR, new_size);
                    self.model.insert(resized.expect("memory for the new size"), &ALLOCATOR);
                }
            }
            Step::Trim => {
                ALLOCATOR.trim();
                self.model.check_contents();
            }
            Step::Survey => self.model.check_against(&ALLOCATOR.stats()),
            Step::Go { .. } | Step::End { .. } => unreachable!("`run` stops at these"),
        }
        self.requests += 1;
    }

    fn allocate(&mut self, layout: Layout, count: usize, allocate_one: impl Fn(usize) -> Block) {
        for _ in 0..count.min(1 + REQUEST_BYTES_MAX / layout.size()) {
            if self.model.bytes() + layout.size() > LIVE_BYTES_MAX {
                return;
            }
            self.requests += 1;
            self.model.insert(allocate_one(self.requests), &ALLOCATOR);
        }
    }

    fn free(&mut self, blocks: Vec<Block>) {
        self.requests += blocks.len();
        blocks.into_iter().for_each(|block| block.free(&ALLOCATOR));
    }

    /// Frees what still lives. No other thread has ended after this one began to, so that the heap has
    /// nothing any more, and says so.
    pub fn end(mut self) {
        self.model.check_against(&ALLOCATOR.stats());
        let blocks = self.model.take_strided(1);
        self.free(blocks);
        let stats = ALLOCATOR.stats();
        for class in &stats.classes {
            let (bytes, used) = (class.block_bytes, class.used_blocks);
            assert_eq!(used, 0, "blocks of {bytes} bytes that nobody has are used");
        }
        ALLOCATOR.trim();
        let stats = ALLOCATOR.stats();
        assert_eq!(stats.arenas.mapped, 0, "arenas stay mapped for nothing");
        assert_eq!(stats.large.taken_bytes, 0, "large blocks are counted that nobody has");
    }
}
