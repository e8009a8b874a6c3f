//! What one allocation and its release cost, called through `GlobalAlloc` directly: inlined into the loop,
//! as with link-time optimisation, and behind functions that are not inlined, as without.
//!
//! `pair` frees each block before it allocates the next; `lifo` and `fifo` hold a batch of blocks and free
//! the last or the first one first.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::ptr;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use mimalloc::MiMalloc;
use obmalloc::Obmalloc;
use tikv_jemallocator::Jemalloc;

const BATCH: usize = 1_000;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

struct Outlined<A>(A);

// SAFETY: all calls go to an allocator that keeps the contract.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Outlined<A> {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.0.alloc(layout) }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the same contract.
        unsafe { self.0.dealloc(block, layout) }
    }
}

fn allocate<const SIZE: usize>(allocator: &impl GlobalAlloc) -> *mut u8 {
    const { assert!(SIZE > 0) };
    // SAFETY: the size is not zero.
    let block = unsafe { allocator.alloc(Layout::new::<[u8; SIZE]>()) };
    // Nobody looks at the block, and the compiler may drop such an allocation.
    black_box(block)
}

/// # Safety
///
/// `block` must come from `allocate` with the same size and allocator, and must not be used again.
unsafe fn release<const SIZE: usize>(allocator: &impl GlobalAlloc, block: *mut u8) {
    if !block.is_null() {
        // SAFETY: the caller promises it; a failed allocation was sorted out.
        unsafe { allocator.dealloc(block, Layout::new::<[u8; SIZE]>()) }
    }
}

fn allocate_batch<const SIZE: usize>(allocator: &impl GlobalAlloc, blocks: &mut [*mut u8]) {
    for block in blocks {
        *block = allocate::<SIZE>(allocator);
    }
}

fn bench_size<const SIZE: usize>(group: &mut Group, name: &str, allocator: &impl GlobalAlloc) {
    let mut blocks = [ptr::null_mut(); BATCH];
    group.bench_function(format!("pair/{SIZE}/{name}"), |bencher| {
        bencher.iter(|| {
            let block = allocate::<SIZE>(allocator);
            // SAFETY: the block was just allocated.
            unsafe { release::<SIZE>(allocator, block) }
        });
    });
    group.bench_function(format!("lifo/{SIZE}/{name}"), |bencher| {
        bencher.iter(|| {
            allocate_batch::<SIZE>(allocator, &mut blocks);
            for &block in blocks.iter().rev() {
                // SAFETY: each block of the batch was just allocated, and is seen once.
                unsafe { release::<SIZE>(allocator, block) }
            }
        });
    });
    group.bench_function(format!("fifo/{SIZE}/{name}"), |bencher| {
        bencher.iter(|| {
            allocate_batch::<SIZE>(allocator, &mut blocks);
            for &block in &blocks {
                // SAFETY: each block of the batch was just allocated, and is seen once.
                unsafe { release::<SIZE>(allocator, block) }
            }
        });
    });
}

fn bench_sizes(group: &mut Group, name: &str, allocator: &impl GlobalAlloc) {
    bench_size::<8>(group, name, allocator);
    bench_size::<16>(group, name, allocator);
    bench_size::<64>(group, name, allocator);
    bench_size::<512>(group, name, allocator);
}

fn inlined(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inlined");
    bench_sizes(&mut group, "obmalloc", &Obmalloc::new());
    bench_sizes(&mut group, "system", &System);
    bench_sizes(&mut group, "jemalloc", &Jemalloc);
    bench_sizes(&mut group, "mimalloc", &MiMalloc);
    group.finish();
}

fn outlined(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("outlined");
    bench_sizes(&mut group, "obmalloc", &Outlined(Obmalloc::new()));
    bench_sizes(&mut group, "system", &Outlined(System));
    bench_sizes(&mut group, "jemalloc", &Outlined(Jemalloc));
    bench_sizes(&mut group, "mimalloc", &Outlined(MiMalloc));
    group.finish();
}

criterion_group! {
    name = fast_path;
    // 96 measurements in less than two minutes.
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(50)
        .nresamples(10_000)
        .without_plots();
    targets = inlined, outlined
}
criterion_main!(fast_path);
