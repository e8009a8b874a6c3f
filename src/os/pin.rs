//! Keeps a shared library that carries this allocator in memory when its user closes it.
//!
//! A thread that has used the allocator calls into it once more at its end, and a `fork` does so at
//! any time: the C library has the addresses. After `dlclose` they would be those of nothing, or of
//! something else. So the library is made one that is never unloaded, when it is loaded: a function in
//! `.init_array` runs before any other code of the library, in the thread that holds the loader's
//! lock, so that the loader is never called, and its lock never waited for, from an allocation.
//!
//! The main program is never unloaded; there this costs a look at its addresses.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;

/// What the loader calls when it has loaded this code; it is `#[used]`, since nothing else refers to it.
#[used]
// SAFETY: the loader calls what the pointers in this section point to, and this is such a function.
#[unsafe(link_section = ".init_array")]
static PIN_WHEN_LOADED: extern "C" fn() = pin_unless_main_program;

extern "C" fn pin_unless_main_program() {
    let here = pin_unless_main_program as *const c_void;
    // SAFETY: the function has this type, and takes what is passed with it for an address alone.
    if unsafe { libc::dl_iterate_phdr(Some(is_in_first), here.cast_mut()) } != IN_FIRST {
        pin(here);
    }
}

const IN_FIRST: c_int = 1;
const NOT_IN_FIRST: c_int = 2;

/// Says whether an address lies in the object that it is called with; other than zero, so that it is called
/// with the first alone, which is the main program.
unsafe extern "C" fn is_in_first(
    object: *mut libc::dl_phdr_info,
    _bytes: usize,
    address: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes an object that is valid during the call.
    let object = unsafe { &*object };
    for index in 0..usize::from(object.dlpi_phnum) {
        // SAFETY: the object has so many headers.
        let header = unsafe { object.dlpi_phdr.add(index) };
        // SAFETY: as above; they are mapped as long as the object is.
        let header = unsafe { header.read() };
        let start = object.dlpi_addr.wrapping_add(header.p_vaddr) as usize;
        let is_loaded = header.p_type == libc::PT_LOAD;
        if is_loaded && address.addr().wrapping_sub(start) < header.p_memsz as usize {
            return IN_FIRST;
        }
    }
    NOT_IN_FIRST
}

/// Has the loader never unload the object that has this address.
fn pin(address: *const c_void) {
    let mut object = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: any address may be asked for, and the place is valid for the answer.
    if unsafe { libc::dladdr(address, object.as_mut_ptr()) } == 0 {
        return;
    }
    // SAFETY: written by `dladdr`, which succeeded.
    let object = unsafe { object.assume_init() };
    let mode = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // If the loader refuses, the library is as any other: it must stay open.
    // SAFETY: the name is the loader's own; what has it is loaded already, so that nothing new runs.
    unsafe { libc::dlopen(object.dli_fname, mode) };
}
