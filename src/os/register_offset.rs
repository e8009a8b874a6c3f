//! x86-64: offsets in registers.

use core::arch::asm;

/// The same number, in a register, whatever the compiler knows of it.
///
/// A word that is stored and read again at once, over and over, costs no time on processors that
/// forward it by the shape of its address (AMD's since Zen 2), and only if that has a register: measured on
/// Zen 4, pairs of `Box::new` and `drop` take a third of the time.
#[inline(always)]
pub(crate) fn in_register(mut number: usize) -> usize {
    // SAFETY: no instruction.
    unsafe { asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}
