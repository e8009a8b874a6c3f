//! The requests that an input is made of. Every string of bytes is a program, and one byte more or less
//! changes little of what comes before.

use std::alloc::Layout;

/// Threads that carry out a program, the first of which starts it.
pub const THREADS: usize = 4;

/// One request, or several of a kind.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Alloc {
        layout: Layout,
        count: usize,
    },
    AllocZeroed {
        layout: Layout,
        count: usize,
    },
    /// Frees blocks that follow each other by address, from one end of the run or the other.
    Free {
        which: usize,
        count: usize,
        backwards: bool,
    },
    /// Frees every `stride`th block.
    FreeStrided {
        stride: usize,
    },
    Realloc {
        which: usize,
        new_size: usize,
    },
    /// Has another thread go on with the program.
    Go {
        thread: usize,
    },
    /// Ends a thread, and goes on in the first.
    End {
        thread: usize,
    },
    Trim,
    /// Asks what the allocator knows of its heap.
    Survey,
}

/// An input that is being read.
pub struct Program {
    input: Vec<u8>,
    at: usize,
}

impl Program {
    pub fn new(input: &[u8]) -> Self {
        Self { input: input.to_vec(), at: 0 }
    }

    /// The next byte; zero behind the end.
    fn byte(&mut self) -> usize {
        let byte = self.input.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte)
    }

    /// The next request; `None` at the end.
    pub fn next(&mut self) -> Option<Step> {
        if self.at >= self.input.len() {
            return None;
        }
        Some(match self.byte() % 16 {
            0..=3 => Step::Alloc { layout: self.layout(), count: self.count() },
            4 | 5 => Step::AllocZeroed { layout: self.layout(), count: self.count() },
            6..=8 => Step::Free {
                which: self.byte(),
                count: self.count(),
                backwards: self.byte().is_multiple_of(2),
            },
            9 => Step::FreeStrided { stride: 1 + self.byte() % 8 },
            10 | 11 => Step::Realloc { which: self.byte(), new_size: self.size() },
            12 => Step::Go { thread: self.byte() % THREADS },
            13 => Step::End { thread: 1 + self.byte() % (THREADS - 1) },
            14 => Step::Trim,
            _ => Step::Survey,
        })
    }

    /// How many blocks a request is about: one, or as many as it takes to cross magazines and pools.
    fn count(&mut self) -> usize {
        match self.byte() {
            few @ 0..=63 => 1 + few / 16,
            some @ 64..=191 => some - 60,
            many => 2 * many - 250,
        }
    }

    /// A size at the border of a size class, small, or large.
    fn size(&mut self) -> usize {
        let (kind, byte) = (self.byte(), self.byte());
        match kind % 8 {
            0..=3 => 8 * (1 + byte % 64) + kind / 8 % 3 - 1,
            4 | 5 => 1 + byte,
            6 => 505 + byte,
            _ => 512 + 160 * byte,
        }
    }

    fn layout(&mut self) -> Layout {
        let (size, byte) = (self.size(), self.byte());
        let power = if byte < 192 { byte % 5 } else { 5 + byte % 8 };
        Layout::from_size_align(size, 1 << power).expect("a possible layout")
    }
}
