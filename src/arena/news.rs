//! What happens to arenas and is to be acted upon: told under no lock, and taken by one thread.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

/// What the lists of arenas have noticed, under their lock.
#[derive(Default)]
pub(super) struct Told {
    pub(super) has_grown: bool,
    pub(super) is_pressed: bool,
    pub(super) wants_watch: bool,
}

impl Told {
    pub(super) const NOTHING: Self =
        Self { has_grown: false, is_pressed: false, wants_watch: false };
}

/// What has happened and was not acted upon yet.
///
/// All orders are relaxed: a flag carries nothing but itself. To take one needs an exchange seldom, and
/// a load of what hardly ever changes each time.
pub(crate) struct News {
    has_grown: AtomicBool,
    is_pressed: AtomicBool,
    wants_watch: AtomicBool,
    has_looked: AtomicBool,
    has_shrunk: AtomicBool,
}

impl News {
    pub(super) const fn new() -> Self {
        Self {
            has_grown: AtomicBool::new(false),
            is_pressed: AtomicBool::new(false),
            wants_watch: AtomicBool::new(false),
            has_looked: AtomicBool::new(false),
            has_shrunk: AtomicBool::new(false),
        }
    }

    pub(super) fn tell_of_look(&self) {
        self.has_looked.store(true, Ordering::Relaxed);
    }

    pub(super) fn tell_of_shrink(&self) {
        self.has_shrunk.store(true, Ordering::Relaxed);
    }

    pub(super) fn tell(&self, told: Told) {
        let flags = [
            (told.has_grown, &self.has_grown),
            (told.is_pressed, &self.is_pressed),
            (told.wants_watch, &self.wants_watch),
        ];
        for (_, flag) in flags.iter().filter(|(is_told, _)| *is_told) {
            flag.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there are more arenas than before: what others in the process keep for nothing may be what
    /// they are short of.
    pub(crate) fn take_growth(&self) -> bool {
        take(&self.has_grown)
    }

    /// Whether so much is mapped that the program wants to know.
    pub(crate) fn take_pressure(&self) -> bool {
        take(&self.is_pressed)
    }

    /// Whether a thread is to be started that watches over idle memory. Whoever takes this starts it.
    pub(crate) fn take_watch(&self) -> bool {
        take(&self.wants_watch)
    }

    /// Whether somebody has had a look at what is idle, and it is time for others to be looked at.
    pub(crate) fn take_look(&self) -> bool {
        take(&self.has_looked)
    }

    /// Whether the program needs less than it did, and all went that was of no use: the few blocks that caches hold
    /// may keep as much memory again, each a page and an arena.
    pub(crate) fn take_shrink(&self) -> bool {
        take(&self.has_shrunk)
    }
}

fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Relaxed)
}
