//! What it costs to look at a heap of a gibibyte: its numbers, as text and as a picture. In a large heap
//! of blocks of all sizes, of which every third was freed.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const HEAP_BYTES: usize = 1 << 30;
const MEAN_SIZE: usize = 260;

fn heap() -> Vec<Box<[u8]>> {
    let sizes = (8..=512).step_by(8).cycle();
    let new_block = |size| vec![1_u8; size].into_boxed_slice();
    let mut blocks: Vec<Box<[u8]>> = sizes.map(new_block).take(HEAP_BYTES / MEAN_SIZE).collect();
    let mut number = 0;
    blocks.retain(|_| {
        number += 1;
        number % 3 != 0
    });
    blocks
}

fn bench(criterion: &mut Criterion) {
    let blocks = heap();
    let mebibytes = GLOBAL.stats().arena_bytes() >> 20;
    let mut group = criterion.benchmark_group(format!("heap of {mebibytes} MiB"));
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    group.bench_function("stats", |bencher| bencher.iter(|| GLOBAL.stats()));
    group.bench_function("stats, as JSON", |bencher| {
        bencher.iter(|| {
            let mut text = String::new();
            GLOBAL.stats().write_json(&mut text).map(|()| text)
        });
    });
    group.bench_function("heap map", |bencher| bencher.iter(|| GLOBAL.heap_map()));
    group.finish();
    drop(blocks);
}

criterion_group!(benches, bench);
criterion_main!(benches);
