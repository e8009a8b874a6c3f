//! The threads of one program. The first is the fuzzer's own; the others start when the program comes to
//! them, and end when it says so, or at its end.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};

use crate::machine::{Machine, Stop};
use crate::program::THREADS;

/// A machine, and where its thread stopped.
type Stopped = (Box<Machine>, Option<Stop>);

struct Worker {
    go: Sender<Box<Machine>>,
    stopped: Receiver<Stopped>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn start() -> Self {
        let (go, machines) = channel::<Box<Machine>>();
        let (stop, stopped) = channel();
        let thread = spawn(move || {
            while let Ok(mut machine) = machines.recv() {
                let why = machine.run();
                if stop.send((machine, why)).is_err() {
                    return;
                }
            }
        });
        Self { go, stopped, thread }
    }

    /// Has the thread carry on, and waits until it stops.
    fn run(&self, machine: Box<Machine>) -> Stopped {
        self.go.send(machine).expect("the thread waits");
        self.stopped.recv().expect("the thread stops in order")
    }

    /// Ends the thread, and waits until all of its destructors have run.
    fn end(self) {
        drop(self.go);
        self.thread.join().expect("the thread ends in order");
    }
}

/// The threads of one program, but for the first.
#[derive(Default)]
pub struct Threads {
    workers: [Option<Worker>; THREADS],
}

impl Threads {
    /// Does what a program stopped for, and has other threads go on until it comes back to the first.
    pub fn follow(&mut self, stop: Stop, mut machine: Box<Machine>) -> Box<Machine> {
        let mut next = Some(stop);
        while let Some(stop) = next.take() {
            match stop {
                Stop::Go { thread: 0 } => {}
                Stop::Go { thread } => {
                    let worker = self.workers[thread].get_or_insert_with(Worker::start);
                    (machine, next) = worker.run(machine);
                }
                Stop::End { thread } => {
                    if let Some(worker) = self.workers[thread].take() {
                        worker.end();
                    }
                }
            }
        }
        machine
    }

    pub fn end_all(&mut self) {
        self.workers.iter_mut().filter_map(Option::take).for_each(Worker::end);
    }
}
