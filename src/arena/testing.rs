//! A look at the lists of arenas, for tests of what stands on them.

use super::*;

impl<P: PageSource> Arenas<P> {
    /// Whether all lists are in order. Other threads may be at work.
    pub(crate) fn is_valid(&self) -> bool {
        self.lists.lock().is_valid()
    }
}
