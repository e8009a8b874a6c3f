//! Producers allocate messages of mixed small size, consumers read and drop them: every block is freed by
//! another thread than the one that allocated it. Messages travel in batches, so that the allocator is
//! timed and not the channel. Half of the cores produce. One unit of scale is one batch a producer.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Instant;

use crate::harness::Measurement;
use crate::random::Random;

const MESSAGES_PER_BATCH: usize = 256;
const BATCHES_IN_FLIGHT: usize = 16;

enum Message {
    Text(String),
    Samples(Vec<u32>),
    Order(Box<[u64; 6]>),
    Event(Box<[u64; 12]>),
    Record(Box<[u64; 25]>),
}

impl Message {
    fn new(random: &mut Random) -> Self {
        let value = random.next();
        match random.below(5) {
            0 => Self::Text("x".repeat(random.within(8..=64))),
            1 => Self::Samples(vec![value as u32; random.within(4..=32)]),
            2 => Self::Order(Box::new([value; 6])),
            3 => Self::Event(Box::new([value; 12])),
            _ => Self::Record(Box::new([value; 25])),
        }
    }

    fn digest(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Samples(samples) => u64::from(samples[0]) + samples.len() as u64,
            Self::Order(words) => words[5],
            Self::Event(words) => words[11],
            Self::Record(words) => words[24],
        }
    }
}

pub fn run(threads: usize, batches: u32) -> Measurement {
    let pairs = (threads / 2).max(1);
    let start = Instant::now();
    let checksum = thread::scope(|scope| {
        let consumers: Vec<_> = (0..pairs)
            .map(|stream| {
                let (sender, receiver) = mpsc::sync_channel(BATCHES_IN_FLIGHT);
                scope.spawn(move || produce(&sender, Random::new(stream), batches));
                scope.spawn(move || consume(&receiver))
            })
            .collect();
        consumers
            .into_iter()
            .map(|consumer| consumer.join().expect("a consumer does not panic"))
            .fold(0, u64::wrapping_add)
    });
    let operations = pairs as u64 * u64::from(batches) * MESSAGES_PER_BATCH as u64;
    Measurement { elapsed: start.elapsed(), operations: Some(operations), checksum, held: None }
}

fn produce(sender: &SyncSender<Vec<Message>>, mut random: Random, batches: u32) {
    for _ in 0..batches {
        let batch = (0..MESSAGES_PER_BATCH).map(|_| Message::new(&mut random)).collect();
        sender.send(batch).expect("the consumer reads to the end");
    }
}

fn consume(receiver: &Receiver<Vec<Message>>) -> u64 {
    receiver.iter().flatten().map(|message| message.digest()).fold(0, u64::wrapping_add)
}
