//! x86-64: what Rust has no words for yet.

use core::arch::{asm, global_asm};

// Eight bytes of each thread, zero at its start, in the memory that the C library sets aside before the
// thread runs. The model is `initial-exec`, so that no access calls `__tls_get_addr`.
global_asm!(
    ".pushsection .tbss,\"awT\",@nobits",
    ".globl obmalloc_thread_slot",
    ".hidden obmalloc_thread_slot",
    ".type obmalloc_thread_slot, @object",
    ".size obmalloc_thread_slot, 8",
    ".balign 8",
    "obmalloc_thread_slot:",
    ".zero 8",
    ".popsection",
);

/// The pointer that this thread has in its slot; null at first.
#[inline(always)]
pub(crate) fn thread_slot() -> *mut u8 {
    let value;
    // SAFETY: reads the thread's own eight bytes.
    unsafe {
        asm!(
            "mov {value}, qword ptr [rip + obmalloc_thread_slot@GOTTPOFF]",
            "mov {value}, qword ptr fs:[{value}]",
            value = out(reg) value,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    value
}

/// Puts a pointer into this thread's slot.
#[inline(always)]
pub(crate) fn set_thread_slot(value: *mut u8) {
    // SAFETY: writes the thread's own eight bytes.
    unsafe {
        asm!(
            "mov {offset}, qword ptr [rip + obmalloc_thread_slot@GOTTPOFF]",
            "mov qword ptr fs:[{offset}], {value}",
            offset = out(reg) _,
            value = in(reg) value,
            options(nostack, preserves_flags),
        );
    }
}

/// The address of the C function of this name that the process uses, whoever defines it.
macro_rules! address_in_process {
    ($name:literal) => {{
        let address: usize;
        // SAFETY: reads an entry of the global offset table, which the loader has filled in.
        unsafe {
            core::arch::asm!(
                concat!("mov {address}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                address = out(reg) address,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        address
    }};
}

/// The whole of a naked function: goes on as the C function of this name that the process uses, with
/// the same arguments.
macro_rules! go_on_as {
    ($name:literal) => {
        core::arch::naked_asm!(concat!("jmp qword ptr [rip + ", $name, "@GOTPCREL]"))
    };
}

/// The whole of a naked function of C++: goes on as the function of this name, or, where the process
/// has no such function, as `free`.
macro_rules! go_on_as_or_free {
    ($name:literal) => {
        core::arch::naked_asm!(
            concat!(".weak ", $name),
            concat!("mov rax, qword ptr [rip + ", $name, "@GOTPCREL]"),
            "test rax, rax",
            "cmovz rax, qword ptr [rip + free@GOTPCREL]",
            "jmp rax",
        )
    };
}

/// As [`go_on_as_or_free`], where the third argument is to become the second.
macro_rules! go_on_without_second_as_or_free {
    ($name:literal) => {
        core::arch::naked_asm!(
            concat!(".weak ", $name),
            "mov rsi, rdx",
            concat!("mov rax, qword ptr [rip + ", $name, "@GOTPCREL]"),
            "test rax, rax",
            "cmovz rax, qword ptr [rip + free@GOTPCREL]",
            "jmp rax",
        )
    };
}

pub(crate) use {address_in_process, go_on_as, go_on_as_or_free, go_on_without_second_as_or_free};
