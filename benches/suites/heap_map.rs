//! Draws the heap before and after a spike, of which one block in a hundred is kept: writes the two
//! pictures of README.md into the directory that it is given.

use std::path::PathBuf;

use obmalloc::Obmalloc;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const BLOCKS: usize = 15_000;
const BLOCKS_PER_KEPT: usize = 100;

/// A random number below `bound` (xorshift), the same ones in each run.
fn below(bound: usize, state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % bound as u64) as usize
}

fn main() -> std::io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(std::io::Error::other("usage: heap_map DIRECTORY"));
    };
    let mut state = 1;
    let mut blocks: Vec<Vec<u8>> =
        (0..BLOCKS).map(|_| vec![1; 8 + below(505, &mut state)]).collect();
    let before = GLOBAL.heap_map();
    for index in (1..blocks.len()).rev() {
        blocks.swap(index, below(index + 1, &mut state));
    }
    blocks.truncate(BLOCKS / BLOCKS_PER_KEPT);
    GLOBAL.trim();
    let after = GLOBAL.heap_map();
    std::fs::write(directory.join("heap-before.svg"), before)?;
    std::fs::write(directory.join("heap-after.svg"), after)
}
