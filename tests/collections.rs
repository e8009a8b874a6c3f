//! The collections of the standard library on this allocator, used for what they are good at, by
//! several threads at a time. Each has contents that can be worked out without it, so memory that
//! is handed out twice, too small or moved wrongly shows in what the collection contains.

use std::alloc::Layout;
use std::collections::{BTreeMap, BinaryHeap, HashMap, LinkedList, VecDeque};
use std::ffi::CString;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use obmalloc::Obmalloc;

#[path = "common/random.rs"]
mod random;

use random::Random;

#[global_allocator]
static GLOBAL: Obmalloc = Obmalloc::new();

const THREADS: usize = 4;
const ROUNDS: usize = 12;

/// Runs `work` several times in several threads at once, each time with another seed.
fn in_several_threads(work: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for first_seed in 0..THREADS {
            let work = &work;
            scope.spawn(move || (0..ROUNDS).for_each(|round| work(round * THREADS + first_seed)));
        }
    });
}

/// The numbers from 0 to `count - 1`, in an order that depends on the seed.
fn shuffled(count: usize, seed: usize) -> Vec<usize> {
    let mut random = Random::new(seed);
    let mut numbers: Vec<usize> = (0..count).collect();
    for index in (1..count).rev() {
        numbers.swap(index, random.below(index + 1));
    }
    numbers
}

#[test]
fn vectors() {
    in_several_threads(|seed| {
        let mut rows: Vec<Vec<usize>> =
            (0..120).map(|length| vec![seed + length; length]).collect();
        for (length, row) in rows.iter_mut().enumerate() {
            row.extend(0..length);
            row.retain(|number| number % 3 != 0);
            row.insert(0, length);
            row.shrink_to_fit();
        }
        for (length, row) in rows.iter().enumerate() {
            let repeated = if (seed + length) % 3 == 0 { 0 } else { length };
            assert_eq!(row[0], length);
            assert!(row[1..=repeated].iter().all(|number| *number == seed + length));
            assert!(row[repeated + 1..].iter().copied().eq((0..length).filter(|n| n % 3 != 0)));
        }
        let mut numbers = shuffled(3000, seed);
        let drained: Vec<usize> = numbers.drain(500..1500).collect();
        numbers.extend_from_slice(&drained);
        numbers.sort();
        assert!(numbers.into_iter().eq(0..3000));
    });
}

#[test]
fn deques() {
    in_several_threads(|seed| {
        let mut queue = VecDeque::new();
        let (mut pushed, mut popped) = (0, 0);
        let mut random = Random::new(seed);
        for _ in 0..200 {
            for _ in 0..random.below(40) {
                queue.push_back([pushed; 3]);
                pushed += 1;
            }
            for _ in 0..random.below(36).min(queue.len()) {
                assert_eq!(queue.pop_front(), Some([popped; 3]));
                popped += 1;
            }
        }
        queue.shrink_to_fit();
        assert!(queue.into_iter().eq((popped..pushed).map(|number| [number; 3])));
    });
}

#[test]
fn strings() {
    in_several_threads(|seed| {
        let mut text = String::new();
        for number in seed..seed + 500 {
            text.push_str(&number.to_string());
            text.push(if number % 2 == 0 { ' ' } else { '\n' });
        }
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        assert!(words.iter().map(|word| word.parse::<usize>().unwrap()).eq(seed..seed + 500));
        let joined = words.join("\u{1F980}");
        assert_eq!(joined.split('\u{1F980}').collect::<Vec<_>>(), words);
        assert_eq!(joined.replace('\u{1F980}', "").len(), text.len() - words.len());
    });
}

#[test]
fn c_strings() {
    in_several_threads(|seed| {
        let raw: Vec<(*mut _, Vec<u8>)> = (1..300)
            .map(|length| {
                let bytes = vec![1 + ((seed + length) % 255) as u8; length];
                (CString::new(bytes.clone()).expect("no byte is zero").into_raw(), bytes)
            })
            .collect();
        for (raw, bytes) in raw {
            // SAFETY: the pointer came from `into_raw` above, and is used this once.
            let string = unsafe { CString::from_raw(raw) };
            assert_eq!(string.as_bytes(), bytes);
            assert_eq!(string.into_bytes_with_nul().pop(), Some(0));
        }
    });
}

#[test]
fn ordered_maps() {
    in_several_threads(|seed| {
        let mut map: BTreeMap<usize, String> =
            shuffled(2000, seed).into_iter().map(|key| (key, key.to_string())).collect();
        for key in (0..2000).step_by(3) {
            assert_eq!(map.remove(&key), Some(key.to_string()));
        }
        let upper = map.split_off(&1000);
        let expected = |from, to| {
            (from..to).filter(|key| key % 3 != 0).map(|key: usize| (key, key.to_string()))
        };
        assert!(map.into_iter().eq(expected(0, 1000)));
        assert!(upper.into_iter().eq(expected(1000, 2000)));
    });
}

#[test]
fn hash_maps() {
    in_several_threads(|seed| {
        let mut map: HashMap<String, Vec<usize>> = HashMap::new();
        for number in shuffled(4000, seed) {
            map.entry(format!("key {}", number % 700)).or_default().push(number);
        }
        map.retain(|_, numbers| numbers.iter().min().is_some_and(|least| least % 2 == 1));
        map.shrink_to_fit();
        assert_eq!(map.len(), 350);
        for least in (1..700).step_by(2) {
            let mut numbers = map.remove(&format!("key {least}")).expect("a key that was kept");
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq((least..4000).step_by(700)));
        }
    });
}

#[test]
fn heaps() {
    in_several_threads(|seed| {
        let mut heap: BinaryHeap<(usize, Box<usize>)> = BinaryHeap::new();
        for number in shuffled(1500, seed) {
            heap.push((number, Box::new(number * number)));
        }
        for expected in (750..1500).rev() {
            assert_eq!(heap.pop(), Some((expected, Box::new(expected * expected))));
        }
        let rest = heap.into_sorted_vec();
        assert!(rest.into_iter().eq((0..750).map(|number| (number, Box::new(number * number)))));
    });
}

#[test]
fn linked_lists() {
    in_several_threads(|seed| {
        let mut list: LinkedList<[usize; 4]> = LinkedList::new();
        for number in 0..800 {
            list.push_back([number + seed; 4]);
            list.push_front([number; 4]);
        }
        let mut back = list.split_off(800);
        assert!(
            list.iter().eq((0..800).rev().map(|number| [number; 4]).collect::<Vec<_>>().iter())
        );
        back.append(&mut list);
        let expected = (seed..seed + 800).chain((0..800).rev());
        assert!(back.into_iter().eq(expected.map(|number| [number; 4])));
    });
}

/// A node that knows its parent.
struct Node {
    name: Rc<str>,
    parent: Weak<Node>,
}

#[test]
fn counted_references() {
    in_several_threads(|seed| {
        let mut nodes: Vec<Rc<Node>> = Vec::new();
        for number in 0..400 {
            let parent = nodes.get(number / 2).map_or_else(Weak::new, Rc::downgrade);
            nodes.push(Rc::new(Node { name: Rc::from(format!("{seed}:{number}")), parent }));
        }
        for (number, node) in nodes.iter().enumerate().skip(1) {
            let parent = node.parent.upgrade().map(|parent| Rc::clone(&parent.name));
            let expected = format!("{seed}:{}", number / 2);
            assert_eq!(parent.as_deref(), Some(&*expected));
        }
        // A weak reference keeps the memory, but not the value.
        let leaf = nodes.pop().expect("the last node");
        drop(nodes);
        assert!(leaf.parent.upgrade().is_none());
        assert_eq!(*leaf.name, *format!("{seed}:399"));
    });
}

#[test]
fn shared_references_cross_threads() {
    let shared: Arc<[Arc<Mutex<Vec<usize>>>]> = (0..50).map(|_| Arc::default()).collect();
    in_several_threads(|seed| {
        let shared = Arc::clone(&shared);
        for number in 0..1000 {
            shared[number % shared.len()].lock().expect("no thread panics").push(seed);
        }
    });
    for numbers in shared.iter() {
        let mut numbers = std::mem::take(&mut *numbers.lock().expect("no thread panics"));
        numbers.sort_unstable();
        let each_seed_as_often = (0..THREADS * ROUNDS * 20).map(|index| index / 20);
        assert!(numbers.into_iter().eq(each_seed_as_often));
    }
    assert_eq!(Arc::strong_count(&shared), 1);
}

trait Shape {
    fn number(&self) -> usize;
}

/// Counts its own end.
struct Plain<const BYTES: usize>(usize, [u8; BYTES], Arc<AtomicUsize>);

#[repr(align(64))]
struct Aligned(Plain<1>);

impl<const BYTES: usize> Drop for Plain<BYTES> {
    fn drop(&mut self) {
        assert!(self.1.iter().all(|byte| *byte == self.0 as u8));
        self.2.fetch_add(1, Ordering::Relaxed);
    }
}

impl<const BYTES: usize> Shape for Plain<BYTES> {
    fn number(&self) -> usize {
        self.0
    }
}

impl Shape for Aligned {
    fn number(&self) -> usize {
        let address = std::ptr::from_ref(self).addr();
        assert!(address.is_multiple_of(64), "{address:#x}");
        self.0.number()
    }
}

#[test]
fn boxes_of_many_types() {
    in_several_threads(|seed| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let mut shapes: Vec<Box<dyn Shape>> = Vec::new();
        for number in seed..seed + 600 {
            let (byte, dropped) = (number as u8, Arc::clone(&dropped));
            shapes.push(match number % 5 {
                0 => Box::new(Plain(number, [byte; 0], dropped)),
                1 => Box::new(Plain(number, [byte; 13], dropped)),
                2 => Box::new(Plain(number, [byte; 200], dropped)),
                3 => Box::new(Plain(number, [byte; 1000], dropped)),
                _ => Box::new(Aligned(Plain(number, [byte; 1], dropped))),
            });
        }
        assert!(shapes.iter().map(|shape| shape.number()).eq(seed..seed + 600));
        drop(shapes);
        assert_eq!(dropped.load(Ordering::Relaxed), 600);
    });
}

#[test]
fn boxed_slices() {
    fn check<T: Copy + PartialEq + std::fmt::Debug>(element: impl Fn(usize) -> T) {
        let slices: Vec<Box<[T]>> =
            (0..150).map(|length| (0..length).map(&element).collect()).collect();
        for (length, slice) in slices.into_iter().enumerate() {
            let address = slice.as_ptr().addr();
            assert!(address.is_multiple_of(Layout::new::<T>().align()), "{address:#x}");
            let mut elements = slice.into_vec();
            elements.push(element(length));
            assert!(elements.into_boxed_slice().iter().copied().eq((0..=length).map(&element)));
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(32))]
    struct Wide([usize; 3]);

    in_several_threads(|seed| {
        check(|index| (seed + index) as u8);
        check(|index| (seed + index) as u128);
        check(|index| Wide([seed, index, seed ^ index]));
    });
}

#[test]
fn channels() {
    const MESSAGES: usize = 3000;
    let (to_middle, from_first) = mpsc::channel::<(usize, String)>();
    let (to_last, from_middle) = mpsc::sync_channel::<Box<(usize, usize)>>(16);
    thread::scope(|scope| {
        for sender in 0..THREADS {
            let to_middle = to_middle.clone();
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    let text = "x".repeat(number % 600);
                    to_middle.send((sender, text)).expect("the middle thread receives");
                }
            });
        }
        drop(to_middle);
        scope.spawn(move || {
            for (sender, text) in from_first {
                assert!(text.bytes().all(|byte| byte == b'x'));
                to_last.send(Box::new((sender, text.len()))).expect("the last thread receives");
            }
        });
        let mut received = [0; THREADS];
        for message in from_middle {
            let (sender, length) = *message;
            assert_eq!(length, received[sender] % 600);
            received[sender] += 1;
        }
        assert_eq!(received, [MESSAGES; THREADS]);
    });
}

#[test]
fn scoped_threads_change_what_others_allocated() {
    let mut words: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    for _ in 0..5 {
        thread::scope(|scope| {
            for part in words.chunks_mut(500) {
                scope.spawn(move || {
                    for word in part {
                        let longer = format!("{word}, {word}");
                        *word = if longer.len() > 200 {
                            longer.split(", ").take(1).collect()
                        } else {
                            longer
                        };
                    }
                });
            }
        });
    }
    for (number, word) in words.into_iter().enumerate() {
        let expected = number.to_string();
        assert!(word.split(", ").all(|part| part == expected), "{word}");
    }
}
