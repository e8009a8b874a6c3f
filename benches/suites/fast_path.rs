//! What do one allocation and its release cost, when nothing else happens?
//!
//! Each round frees what it allocates before the next one begins, so that every allocator answers from
//! the block that it got back last. Most sizes are constants, as in `Box::new`; `run time` takes them from
//! a table, as `Vec::with_capacity` does.
//!
//! Its weakness: no program does this. The block is always in the cache and every branch is foreseen, so
//! it shows how few instructions there are, not how well memory is laid out. Blocks are not written,
//! except where a case says so.

use std::alloc::GlobalAlloc;
use std::hint::black_box;
use std::ptr::NonNull;

use criterion::{Criterion, criterion_group, criterion_main};
use suites::{Case, Request, Suite, allocate, allocate_zeroed, grow, release, short_rounds};

/// A block of a constant size and alignment.
struct Pair<const SIZE: usize, const ALIGNMENT: usize>;

impl<const SIZE: usize, const ALIGNMENT: usize> Pair<SIZE, ALIGNMENT> {
    const REQUEST: Request = Request::aligned(SIZE, ALIGNMENT);
}

impl<const SIZE: usize, const ALIGNMENT: usize> Case for Pair<SIZE, ALIGNMENT> {
    type Held = ();

    fn name(&self) -> String {
        match ALIGNMENT {
            8 => format!("pair of {SIZE}"),
            _ => format!("pair of {SIZE} aligned to {ALIGNMENT}"),
        }
    }

    fn prepare(&self, _: &impl GlobalAlloc) {}

    #[inline(always)]
    unsafe fn round(&self, allocator: &impl GlobalAlloc, (): &mut ()) {
        let block = allocate(allocator, Self::REQUEST);
        // SAFETY: the block was just allocated.
        unsafe { release(allocator, block, Self::REQUEST) }
    }

    unsafe fn finish(&self, _: &impl GlobalAlloc, (): ()) {}
}

/// A block whose size only the running program knows.
struct RunTimePair {
    name: &'static str,
    sizes: Vec<usize>,
}

impl Case for RunTimePair {
    /// Where in the table the next size stands.
    type Held = usize;

    fn name(&self) -> String {
        format!("run time pair of {}", self.name)
    }

    fn prepare(&self, _: &impl GlobalAlloc) -> usize {
        0
    }

    #[inline(always)]
    unsafe fn round(&self, allocator: &impl GlobalAlloc, next: &mut usize) {
        // Not `self.sizes`, whose contents the compiler has seen.
        let sizes = black_box(self.sizes.as_slice());
        let request = Request::of(sizes[*next]);
        *next = if *next + 1 == sizes.len() { 0 } else { *next + 1 };
        let block = allocate(allocator, request);
        // SAFETY: the block was just allocated.
        unsafe { release(allocator, block, request) }
    }

    unsafe fn finish(&self, _: &impl GlobalAlloc, _: usize) {}
}

/// What a program puts in a box.
struct Entry {
    key: u64,
    value: [u64; 5],
}

/// A box: allocated, filled, looked at, dropped.
struct Boxed;

impl Case for Boxed {
    /// The key of the next box.
    type Held = u64;

    fn name(&self) -> String {
        format!("box of {}", size_of::<Entry>())
    }

    fn prepare(&self, _: &impl GlobalAlloc) -> u64 {
        1
    }

    #[inline(always)]
    unsafe fn round(&self, allocator: &impl GlobalAlloc, key: &mut u64) {
        const REQUEST: Request = Request::aligned(size_of::<Entry>(), align_of::<Entry>());
        let block: NonNull<Entry> = allocate(allocator, REQUEST).cast();
        // SAFETY: the block was just allocated for such a value.
        unsafe { block.write(Entry { key: *key, value: [*key; 5] }) };
        // SAFETY: the value was just written, and the compiler does not know what became of it.
        let entry = unsafe { black_box(block).read() };
        // Not the next key: one box would have to wait for what is read from the last.
        black_box(entry.key.wrapping_add(entry.value[4]));
        *key += 1;
        // SAFETY: the block was just allocated; the value in it needs no drop.
        unsafe { release(allocator, block.cast(), REQUEST) }
    }

    unsafe fn finish(&self, _: &impl GlobalAlloc, _: u64) {}
}

/// A block of zeroes.
struct Zeroed<const SIZE: usize>;

impl<const SIZE: usize> Case for Zeroed<SIZE> {
    type Held = ();

    fn name(&self) -> String {
        format!("zeroed pair of {SIZE}")
    }

    fn prepare(&self, _: &impl GlobalAlloc) {}

    #[inline(always)]
    unsafe fn round(&self, allocator: &impl GlobalAlloc, (): &mut ()) {
        let request = const { Request::of(SIZE) };
        let block = allocate_zeroed(allocator, request);
        // SAFETY: the block was just allocated.
        unsafe { release(allocator, block, request) }
    }

    unsafe fn finish(&self, _: &impl GlobalAlloc, (): ()) {}
}

/// A buffer that doubles, as a `Vec` to which a program pushes. Times are those of the whole growth.
struct Growth {
    last: usize,
}

impl Growth {
    const FIRST: usize = 8;
}

impl Case for Growth {
    type Held = ();

    fn name(&self) -> String {
        format!("growth from {} to {}", Self::FIRST, self.last)
    }

    fn prepare(&self, _: &impl GlobalAlloc) {}

    #[inline(always)]
    unsafe fn round(&self, allocator: &impl GlobalAlloc, (): &mut ()) {
        let mut request = Request::of(Self::FIRST);
        let mut block = allocate(allocator, request);
        while request.size() < black_box(self.last) {
            let doubled = Request::of(request.size() * 2);
            // SAFETY: the block is live and of this request; both are aligned alike.
            block = unsafe { grow(allocator, block, request, doubled) };
            request = doubled;
        }
        // SAFETY: the block is live and of the last request.
        unsafe { release(allocator, block, request) }
    }

    unsafe fn finish(&self, _: &impl GlobalAlloc, (): ()) {}
}

fn fast_path(criterion: &mut Criterion) {
    let few_sizes =
        RunTimePair { name: "8, 16, 64 or 512", sizes: vec![8, 512, 64, 16, 64, 8, 16] };
    // 37 is prime to 64, so that all multiples of 8 come, neighbours far from each other.
    let sizes = (0..64).map(|index| (index * 37 % 64 + 1) * 8).collect();
    let many_sizes = RunTimePair { name: "8 to 512", sizes };
    Suite::new(criterion, "fast path")
        .measure(&Pair::<8, 8>)
        .measure(&Pair::<16, 8>)
        .measure(&Pair::<64, 8>)
        .measure(&Pair::<512, 8>)
        .measure(&few_sizes)
        .measure(&many_sizes)
        .measure(&Boxed)
        .measure(&Pair::<64, 16>)
        .measure(&Pair::<64, 32>)
        .measure(&Pair::<64, 64>)
        .measure(&Zeroed::<64>)
        .measure(&Zeroed::<512>)
        .measure(&Growth { last: 512 })
        .measure(&Growth { last: 4096 });
}

criterion_group! {
    name = suite;
    // 224 measurements in about three minutes.
    config = short_rounds(0.5, 50);
    targets = fast_path
}
criterion_main!(suite);
