//! The calling thread's error number, which calls to the system leave behind.

#[cfg(target_os = "netbsd")]
use libc::__errno as place_of_errno;
#[cfg(any(target_os = "linux", target_os = "dragonfly"))]
use libc::__errno_location as place_of_errno;
#[cfg(any(target_os = "freebsd", target_vendor = "apple"))]
use libc::__error as place_of_errno;

/// Calls what may change the number, and sets it back. Whoever made a call to the system may free what that needed, a
/// path or a buffer, before it asks what went wrong.
#[inline]
pub(crate) fn keeping_errno<R>(call: impl FnOnce() -> R) -> R {
    // SAFETY: the function has no conditions.
    let place = unsafe { place_of_errno() };
    // SAFETY: what it returns is valid as long as this thread, whose own it is.
    let before = unsafe { place.read() };
    let result = call();
    // SAFETY: as above.
    unsafe { place.write(before) };
    result
}

/// Sets the number.
#[cfg(feature = "preload")]
pub(crate) fn set_errno(number: core::ffi::c_int) {
    // SAFETY: the function has no conditions.
    let place = unsafe { place_of_errno() };
    // SAFETY: what it returns is valid, and this thread's.
    unsafe { place.write(number) };
}
