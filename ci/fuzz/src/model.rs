//! The blocks that live, by their addresses, and what must be true of them.

use std::alloc::Layout;
use std::collections::BTreeMap;

use obmalloc::{Obmalloc, Stats};

use crate::blocks::Block;

/// Largest small block, and the number of its size class.
const SMALL_MAX: usize = 512;
const CLASSES: usize = SMALL_MAX / 8;

/// The size of the small block that serves a layout; `None` where a large one does.
fn small_bytes(layout: Layout) -> Option<usize> {
    let bytes = layout.size().next_multiple_of(layout.align().max(8));
    (bytes <= SMALL_MAX).then_some(bytes)
}

/// The blocks that live.
#[derive(Default)]
pub struct Model {
    live: BTreeMap<usize, Block>,
    bytes: usize,
    used_by_class: Vec<usize>,
}

impl Model {
    pub fn new() -> Self {
        Self { used_by_class: vec![0; CLASSES], ..Self::default() }
    }

    /// Bytes that the program asked for and has not freed.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A block that was just allocated: it is apart from all others, and the allocator knows it.
    pub fn insert(&mut self, block: Block, allocator: &Obmalloc) {
        let start = block.start.addr().get();
        let usable = small_bytes(block.layout);
        let end = start + usable.unwrap_or(block.layout.size());
        if let Some((_, below)) = self.live.range(..=start).next_back() {
            let below_end = below.start.addr().get() + below.layout.size();
            assert!(below_end <= start, "{block:?} overlaps {below:?}");
        }
        if let Some((&above, _)) = self.live.range(start..).next() {
            assert!(end <= above, "{block:?} overlaps the block at {above:#x}");
        }
        let pointer = block.start.as_ptr();
        let last = pointer.wrapping_add(block.layout.size() - 1);
        assert_eq!(allocator.usable_size(pointer), usable, "{block:?}");
        assert_eq!(allocator.usable_size(pointer.wrapping_add(1)), None, "{block:?}");
        assert_eq!(allocator.owns(pointer), usable.is_some(), "{block:?}");
        assert_eq!(allocator.owns(last), usable.is_some(), "{block:?}");
        if let Some(bytes) = usable {
            self.used_by_class[bytes / 8 - 1] += 1;
        }
        self.bytes += block.layout.size();
        self.live.insert(start, block);
    }

    fn remove(&mut self, start: usize) -> Block {
        let block = self.live.remove(&start).expect("a block of the model");
        if let Some(bytes) = small_bytes(block.layout) {
            self.used_by_class[bytes / 8 - 1] -= 1;
        }
        self.bytes -= block.layout.size();
        block
    }

    /// Takes `count` blocks, or what there is, from some place on.
    pub fn take(&mut self, which: usize, count: usize) -> Vec<Block> {
        let first = if self.live.is_empty() { 0 } else { which * self.live.len() / 256 };
        let starts: Vec<usize> = self.live.keys().skip(first).take(count).copied().collect();
        starts.into_iter().map(|start| self.remove(start)).collect()
    }

    /// Takes every `stride`th block.
    pub fn take_strided(&mut self, stride: usize) -> Vec<Block> {
        let starts: Vec<usize> = self.live.keys().step_by(stride).copied().collect();
        starts.into_iter().map(|start| self.remove(start)).collect()
    }

    /// Every block that lives is counted as used. What other threads have cached is, too.
    pub fn check_against(&self, stats: &Stats) {
        for (class, used) in stats.classes.iter().zip(&self.used_by_class) {
            let (bytes, counted) = (class.block_bytes, class.used_blocks);
            assert!(counted >= *used, "{counted} blocks of {bytes} bytes of {used} that live");
        }
    }

    /// Every block that lives contains what was written to it.
    pub fn check_contents(&self) {
        self.live.values().for_each(Block::check);
    }
}
