//! Programs of requests, made at random, against a model: the blocks that live, by their addresses.
//! After each step every block must be aligned, apart from all others, and contain what was written
//! to it. Here the allocator is a plain value and the test itself uses the system's, so that what
//! a program asks for is all that the allocator sees, and a failing program shrinks to a small one.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::thread;

use obmalloc::Obmalloc;
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[path = "common/blocks.rs"]
mod blocks;
#[path = "common/zeroed_blocks.rs"]
mod zeroed_blocks;

use blocks::Block;
use zeroed_blocks::allocate_zeroed;

const ALLOCATOR: Obmalloc = Obmalloc::new();

/// One request, or several of a kind.
#[derive(Clone, Debug)]
enum Step {
    Alloc { layout: Layout, count: usize },
    AllocZeroed { layout: Layout, count: usize },
    Free { from: Index, count: usize },
    Realloc { which: Index, new_size: usize },
    FreeInAnotherThread { from: Index, count: usize },
    ReallocInAnotherThread { which: Index, new_size: usize },
}

/// Sizes at the borders of classes, at that of 512 bytes, and elsewhere.
fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => (1_usize..=64, 0_usize..=2).prop_map(|(class, step)| 8 * class + step - 1),
        2 => 505_usize..=520,
        3 => 1_usize..=64,
        2 => 1_usize..=2000,
        1 => select(vec![4096_usize, 20_000]),
    ]
}

fn layouts() -> impl Strategy<Value = Layout> {
    let aligns = prop_oneof![3 => 0_u32..=4, 1 => 5_u32..=12].prop_map(|power| 1_usize << power);
    (sizes(), aligns)
        .prop_map(|(size, align)| Layout::from_size_align(size, align).expect("a possible layout"))
}

/// How many blocks a step is about: one, or as many as it takes to cross pools and magazines.
fn counts() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(1_usize), 1 => 2_usize..=40]
}

fn steps() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        4 => (layouts(), counts()).prop_map(|(layout, count)| Step::Alloc { layout, count }),
        2 => (layouts(), counts()).prop_map(|(layout, count)| Step::AllocZeroed { layout, count }),
        4 => (index(), counts()).prop_map(|(from, count)| Step::Free { from, count }),
        3 => (index(), sizes()).prop_map(|(which, new_size)| Step::Realloc { which, new_size }),
        1 => (index(), counts())
            .prop_map(|(from, count)| Step::FreeInAnotherThread { from, count }),
        1 => (index(), sizes())
            .prop_map(|(which, new_size)| Step::ReallocInAnotherThread { which, new_size }),
    ]
}

/// A block that is zero until it is stamped.
fn resize(block: Block, new_size: usize) -> Block {
    block.resize(&ALLOCATOR, new_size).expect("memory for the new size")
}

/// Runs `work` in a thread of its own, which has ended when this returns.
fn in_another_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(work).join()).expect("blocks in order")
}

/// The blocks that live, by their addresses.
#[derive(Default)]
struct Model {
    live: BTreeMap<usize, Block>,
    allocated: usize,
}

impl Model {
    fn insert(&mut self, block: Block) {
        let start = block.start.addr().get();
        let end = start + block.layout.size();
        if let Some((_, below)) = self.live.range(..=start).next_back() {
            let below_end = below.start.addr().get() + below.layout.size();
            assert!(below_end <= start, "{block:?} overlaps {below:?}");
        }
        if let Some((&above, _)) = self.live.range(start..).next() {
            assert!(end <= above, "{block:?} overlaps the block at {above:#x}");
        }
        self.live.insert(start, block);
    }

    fn allocate(&mut self, count: usize, allocate_one: impl Fn(usize) -> Block) {
        for _ in 0..count {
            self.allocated += 1;
            self.insert(allocate_one(self.allocated));
        }
    }

    /// Takes `count` blocks, or what there is, from some place on.
    fn take(&mut self, from: Index, count: usize) -> Vec<Block> {
        let first = if self.live.is_empty() { 0 } else { from.index(self.live.len()) };
        let keys: Vec<usize> = self.live.keys().skip(first).take(count).copied().collect();
        keys.iter().filter_map(|key| self.live.remove(key)).collect()
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Alloc { layout, count } => {
                self.allocate(count, |owner| Block::allocate(&ALLOCATOR, layout, owner));
            }
            Step::AllocZeroed { layout, count } => {
                self.allocate(count, |owner| allocate_zeroed(&ALLOCATOR, layout, owner));
            }
            Step::Free { from, count } => {
                self.take(from, count).into_iter().for_each(|block| block.free(&ALLOCATOR));
            }
            Step::FreeInAnotherThread { from, count } => {
                let blocks = self.take(from, count);
                in_another_thread(|| blocks.into_iter().for_each(|block| block.free(&ALLOCATOR)));
            }
            Step::Realloc { which, new_size } => {
                for block in self.take(which, 1) {
                    self.insert(resize(block, new_size));
                }
            }
            Step::ReallocInAnotherThread { which, new_size } => {
                for block in self.take(which, 1) {
                    self.insert(in_another_thread(|| resize(block, new_size)));
                }
            }
        }
    }

    fn check(&self) {
        self.live.values().for_each(Block::check);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn blocks_keep_to_themselves(program in prop::collection::vec(steps(), 1..80)) {
        let mut model = Model::default();
        for step in program {
            model.run(step);
            model.check();
        }
        std::mem::take(&mut model.live).into_values().for_each(|block| block.free(&ALLOCATOR));
    }
}
