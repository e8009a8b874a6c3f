//! Edits a document that is kept in persistent collections, as an editor does that can undo everything:
//! each edit makes a version that shares what it did not change with the older ones, and the oldest is
//! forgotten. One unit of scale is a thousand edits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use imbl::{GenericHashMap, OrdMap, Vector, shared_ptr::DefaultSharedPtr};

use crate::Outcome;
use crate::digest::{self, FixedHasher};

const EDITS_PER_UNIT: u32 = 1_000;
const VERSIONS: usize = 500;
const LINES: usize = 5_000;
const STYLES: usize = 2_000;

type HashMap<K, V> = GenericHashMap<K, V, FixedHasher, DefaultSharedPtr>;

#[derive(Clone)]
struct Document {
    lines: Vector<Arc<str>>,
    /// From a line's number to a remark about it.
    remarks: OrdMap<usize, Arc<str>>,
    styles: HashMap<String, u32>,
}

pub fn run(units: u32) -> Outcome {
    let mut random = Random(0);
    let start = Instant::now();
    let mut document = Document::new();
    let mut versions = VecDeque::new();
    let mut checksum = 0_u64;
    for _ in 0..u64::from(units) * u64::from(EDITS_PER_UNIT) {
        versions.push_back(document.clone());
        if versions.len() > VERSIONS {
            versions.pop_front();
        }
        // Now and then the user takes back a while's edits.
        if random.below(200) == 0 {
            let kept = versions.len() - random.below(versions.len().min(50));
            versions.truncate(kept);
            document = versions[kept - 1].clone();
        }
        document.edit(&mut random);
        checksum = checksum.wrapping_mul(31).wrapping_add(document.size());
    }
    drop((versions, document));
    Outcome { elapsed: start.elapsed(), checksum }
}

impl Document {
    fn new() -> Self {
        Self {
            lines: (0..LINES).map(|number| format!("this is line {number}").into()).collect(),
            remarks: OrdMap::new(),
            styles: (0..STYLES).map(|number| (style(number), number as u32)).collect(),
        }
    }

    fn edit(&mut self, random: &mut Random) {
        let position = random.below(self.lines.len());
        let number = random.next();
        match random.below(8) {
            0 => self.lines.insert(position, format!("a new line {number}").into()),
            1 if self.lines.len() > LINES / 2 => {
                self.lines.remove(position);
            }
            2 => {
                self.remarks.insert(position, format!("see {number}").into());
            }
            3 => {
                self.remarks.remove(&position);
            }
            4 | 5 => {
                self.styles.insert(style(random.below(2 * STYLES)), number as u32);
            }
            6 => {
                self.styles.remove(&style(random.below(2 * STYLES)));
            }
            _ => {
                self.lines.set(position, format!("rewritten as {number}").into());
            }
        }
    }

    fn size(&self) -> u64 {
        (self.lines.len() + self.remarks.len() + self.styles.len()) as u64
    }
}

/// Numbers that are the same in every run: hashes of those from zero.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        digest::of(&self.0)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn style(number: usize) -> String {
    format!("paragraph-style-{number}")
}
