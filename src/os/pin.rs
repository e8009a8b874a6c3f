//! Keeps a shared library that carries this allocator in memory when its user closes it.
//!
//! A thread that has used the allocator calls into it once more at its end, and a `fork` does so at
//! any time: the C library has the addresses. After `dlclose` they would be those of nothing, or of
//! something else. So the library is made one that is never unloaded, when it is loaded: a function in
//! `.init_array` runs before any other code of the library, in the thread that holds the loader's
//! lock, so that the loader is never called, and its lock never waited for, from an allocation.
//!
//! The main program is never unloaded; there this costs a look at its addresses.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as ProgramHeader;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as ProgramHeader;

/// What the loader calls when it has loaded this code; it is `#[used]`, since nothing else refers to it.
#[used]
// SAFETY: the loader calls what the pointers in this section point to, and this is such a function.
#[unsafe(link_section = ".init_array")]
static PIN_WHEN_LOADED: extern "C" fn() = pin_unless_main_program;

extern "C" fn pin_unless_main_program() {
    if is_shared_library() {
        pin(pin_unless_main_program as *const c_void);
    }
}

/// Whether this is the code of a shared library, and may have been loaded at any time. Asks nobody who has a
/// lock: the kernel tells each process where the headers of its program are.
pub(crate) fn is_shared_library() -> bool {
    let here = (is_shared_library as *const c_void).addr();
    !program_headers().any(|(start, bytes)| here.wrapping_sub(start) < bytes)
}

/// Where the main program is loaded: addresses and lengths.
fn program_headers() -> impl Iterator<Item = (usize, usize)> {
    // SAFETY: the call has no conditions; what is not known is zero.
    let first = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    // SAFETY: as above.
    let known = unsafe { libc::getauxval(libc::AT_PHNUM) } as usize;
    let count = if first == 0 { 0 } else { known };
    let first = ptr::with_exposed_provenance::<ProgramHeader>(first);
    let headers = (0..count).map(move |index| {
        // SAFETY: so many headers are there, as long as the process is.
        let header = unsafe { first.add(index) };
        // SAFETY: as above.
        unsafe { header.read() }
    });
    // They are part of what is loaded, and one of them says at which address they are meant to be.
    let meant = headers.clone().find(|header| header.p_type == libc::PT_PHDR);
    let moved = meant.map_or(0, |header| first.addr().wrapping_sub(header.p_vaddr as usize));
    headers
        .filter(|header| header.p_type == libc::PT_LOAD)
        .map(move |header| (moved.wrapping_add(header.p_vaddr as usize), header.p_memsz as usize))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_program_is_no_shared_library() {
        assert!(!is_shared_library());
    }

    #[test]
    fn what_is_loaded_lies_in_the_main_program_and_what_is_not_does_not() {
        let is_in = |address: usize| {
            program_headers().any(|(start, bytes)| address.wrapping_sub(start) < bytes)
        };
        assert!(is_in((&raw const PIN_WHEN_LOADED).addr()));
        let on_stack = 0;
        assert!(!is_in((&raw const on_stack).addr()));
        assert!(!is_in((libc::getauxval as *const c_void).addr()), "of the C library");
    }
}
