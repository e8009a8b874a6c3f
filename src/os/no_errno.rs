//! Systems where nothing is known of an error number that frees ought to leave alone.

/// Calls it.
#[inline]
pub(crate) fn keeping_errno<R>(call: impl FnOnce() -> R) -> R {
    call()
}
