//! What models of the protocol are written in. Under `cfg(loom)` a model is run once for every order
//! in which its threads may get their locks, and memory that two threads touch without a lock between
//! them is an error; else it is a test as others are, with threads of the system.

#[cfg(loom)]
pub(crate) use checked::*;
#[cfg(not(loom))]
pub(crate) use unchecked::*;

#[cfg(loom)]
mod checked {
    use std::cell::{OnceCell, RefCell};
    use std::collections::{BTreeMap, HashMap};
    use std::ops::Range;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use loom::cell::UnsafeCell;
    use loom::thread::{self, JoinHandle, ThreadId};

    /// Enough for a heap, which is built on it, and for what a failed assertion prints.
    const STACK_WORDS: usize = 32 * 1024;

    /// Far more switches of threads than a model has; it says so rather than run on for ever.
    const BRANCHES_MAX: usize = 10_000;

    /// What is known of the execution under way. The threads of a model all run on one thread of the
    /// system, one at a time, so that this is theirs together, and no other model's.
    #[derive(Default)]
    struct Execution {
        /// Who has read and written what, for loom to compare; by address.
        accesses: BTreeMap<usize, UnsafeCell<()>>,
        locks_held: HashMap<ThreadId, usize>,
        /// The one thread that a fork has left.
        survivor: Option<ThreadId>,
    }

    thread_local! {
        static EXECUTION: RefCell<Execution> = RefCell::default();
    }

    fn with_execution<R>(look: impl FnOnce(&mut Execution) -> R) -> R {
        EXECUTION.with_borrow_mut(look)
    }

    /// Runs `model` in every order of its threads, within `LOOM_MAX_PREEMPTIONS`.
    pub(crate) fn explore(name: &str, model: impl Fn() + Copy + Send + Sync + 'static) {
        let executions = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&executions);
        let mut builder = loom::model::Builder::new();
        builder.max_branches = BRANCHES_MAX;
        builder.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            EXECUTION.take();
            let _ = spawn(model).join();
        });
        println!("{name}: {} executions", executions.load(Ordering::Relaxed));
    }

    /// A thread of a model.
    pub(crate) struct Spawned<T>(JoinHandle<Option<T>>);

    /// Why a thread unwinds that a fork did not copy.
    struct Vanished;

    pub(crate) fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Spawned<T> {
        let run = || match catch_unwind(AssertUnwindSafe(run)) {
            Ok(result) => Some(result),
            Err(cause) if cause.is::<Vanished>() => None,
            Err(cause) => resume_unwind(cause),
        };
        Spawned(thread::Builder::new().stack_size(STACK_WORDS).spawn(run).expect("a thread"))
    }

    impl<T: 'static> Spawned<T> {
        /// Waits for the thread's end; `None` if it has vanished.
        pub(crate) fn join(self) -> Option<T> {
            self.0.join().expect("a thread ends well")
        }
    }

    /// The process is now its own forked child: no thread but this one gets any further than the
    /// lock that it waits for. Says if it is.
    pub(crate) fn become_the_child() -> bool {
        let this = thread::current().id();
        with_execution(|execution| execution.survivor = Some(this));
        true
    }

    pub(crate) fn has_vanished() -> bool {
        let this = thread::current().id();
        with_execution(|execution| execution.survivor.is_some_and(|survivor| survivor != this))
    }

    pub(crate) fn vanish() -> ! {
        resume_unwind(Box::new(Vanished))
    }

    /// Checks that this thread has closed so many locks.
    pub(crate) fn assert_locks_held(count: usize) {
        let this = thread::current().id();
        let held = with_execution(|execution| execution.locks_held.get(&this).copied());
        assert_eq!(held.unwrap_or(0), count, "locks that a thread holds");
    }

    pub(crate) fn lock_closed() {
        let this = thread::current().id();
        with_execution(|execution| *execution.locks_held.entry(this).or_default() += 1);
    }

    pub(crate) fn lock_opens() {
        let this = thread::current().id();
        with_execution(|execution| *execution.locks_held.entry(this).or_default() -= 1);
    }

    /// Checks that all writes at `address` come before this read of it.
    fn read_at(address: usize) {
        with_execution(|execution| {
            execution.accesses.entry(address).or_insert_with(|| UnsafeCell::new(())).with(|_| ());
        });
    }

    /// Checks that all accesses at `address` come before this write to it.
    pub(crate) fn write_at(address: usize) {
        with_execution(|execution| {
            let access = execution.accesses.entry(address);
            access.or_insert_with(|| UnsafeCell::new(())).with_mut(|_| ());
        });
    }

    /// Checks that all accesses in this memory come before this write to all of it.
    pub(crate) fn write_all(addresses: Range<usize>) {
        with_execution(|execution| {
            execution.accesses.range(addresses).for_each(|(_, access)| access.with_mut(|_| ()));
        });
    }

    /// The memory at these addresses is new: what was done to older memory there is of no concern.
    pub(crate) fn forget_accesses(addresses: Range<usize>) {
        with_execution(|execution| execution.accesses.retain(|at, _| !addresses.contains(at)));
    }

    /// A byte whose accesses loom sees as those of a cell: the models let none read it but who must be
    /// ordered after its last write.
    #[repr(transparent)]
    pub(crate) struct OwnedByte(core::sync::atomic::AtomicU8);

    impl OwnedByte {
        pub(crate) const fn new(byte: u8) -> Self {
            Self(core::sync::atomic::AtomicU8::new(byte))
        }

        pub(crate) fn load(&self, order: Ordering) -> u8 {
            read_at(self.0.as_ptr().addr());
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: u8, order: Ordering) {
            write_at(self.0.as_ptr().addr());
            self.0.store(value, order);
        }
    }

    /// A number that threads share without a lock, which loom lets a thread see late where its order does.
    pub(crate) struct Counter {
        /// Made by the first use, as the modelled lock's is.
        number: OnceCell<&'static loom::sync::atomic::AtomicUsize>,
        first: usize,
    }

    // SAFETY: the threads of a model take turns on one thread.
    unsafe impl Sync for Counter {}

    impl Counter {
        pub(crate) const fn new(first: usize) -> Self {
            Self { number: OnceCell::new(), first }
        }

        fn number(&self) -> &'static loom::sync::atomic::AtomicUsize {
            let make = || loom::sync::atomic::AtomicUsize::new(self.first);
            self.number.get_or_init(|| Box::leak(Box::new(make())))
        }

        pub(crate) fn load(&self, order: Ordering) -> usize {
            self.number().load(order)
        }

        pub(crate) fn fetch_add(&self, more: usize, order: Ordering) -> usize {
            self.number().fetch_add(more, order)
        }
    }

    /// A cell whose accesses loom sees, with the layout of that which it stands for.
    #[repr(transparent)]
    pub(crate) struct Cell<T>(core::cell::Cell<T>);

    impl<T: Copy> Cell<T> {
        pub(crate) fn get(&self) -> T {
            read_at(self.0.as_ptr().addr());
            self.0.get()
        }

        pub(crate) fn set(&self, value: T) {
            write_at(self.0.as_ptr().addr());
            self.0.set(value);
        }
    }
}

#[cfg(not(loom))]
mod unchecked {
    use std::ops::Range;
    use std::thread::{self, JoinHandle};

    pub(crate) use core::cell::Cell;

    /// Orders that the system chooses, instead of all.
    const EXECUTIONS: usize = 100;

    /// Runs `model` some times.
    pub(crate) fn explore(_name: &str, model: impl Fn()) {
        (0..EXECUTIONS).for_each(|_| model());
    }

    /// A thread of a model.
    pub(crate) struct Spawned<T>(JoinHandle<T>);

    pub(crate) fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Spawned<T> {
        Spawned(thread::spawn(run))
    }

    impl<T> Spawned<T> {
        /// Waits for the thread's end; never `None`.
        pub(crate) fn join(self) -> Option<T> {
            Some(self.0.join().expect("a thread ends well"))
        }
    }

    /// Nothing: threads of the system cannot vanish.
    pub(crate) fn become_the_child() -> bool {
        false
    }

    /// Nothing: nobody counts.
    pub(crate) fn assert_locks_held(_count: usize) {}

    /// Nothing: nobody remembers.
    pub(crate) fn write_all(_addresses: Range<usize>) {}

    /// Nothing: nobody remembers.
    pub(crate) fn forget_accesses(_addresses: Range<usize>) {}
}
