//! Functions that free with more to go by than an address, and go on as those without: a program may
//! bring its own of these, and must then get its own blocks back, whatever form it frees them with.

use crate::os::upstream::{go_on_as, go_on_as_or_free, go_on_without_second_as_or_free};

/// C23's `free_sized`: the `free` that the process uses.
///
/// # Safety
///
/// - As for that.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(block: *mut u8, size: usize) {
    go_on_as!("free")
}

/// C23's `free_aligned_sized`: the `free` that the process uses.
///
/// # Safety
///
/// - As for that.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(block: *mut u8, alignment: usize, size: usize) {
    go_on_as!("free")
}

/// `operator delete(void*, size_t)`: the `operator delete(void*)` that the process uses.
///
/// # Safety
///
/// - As for that.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvm(block: *mut u8, size: usize) {
    go_on_as_or_free!("_ZdlPv")
}

/// `operator delete[](void*, size_t)`: the `operator delete[](void*)` that the process uses.
///
/// # Safety
///
/// - As for that.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvm(block: *mut u8, size: usize) {
    go_on_as_or_free!("_ZdaPv")
}

/// `operator delete(void*, size_t, align_val_t)`: that without a size that the process uses.
///
/// # Safety
///
/// - As for that.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdlPvmSt11align_val_t(block: *mut u8, size: usize, alignment: usize) {
    go_on_without_second_as_or_free!("_ZdlPvSt11align_val_t")
}

/// `operator delete[](void*, size_t, align_val_t)`: that without a size that the process uses.
///
/// # Safety
///
/// - As for that.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _ZdaPvmSt11align_val_t(block: *mut u8, size: usize, alignment: usize) {
    go_on_without_second_as_or_free!("_ZdaPvSt11align_val_t")
}
