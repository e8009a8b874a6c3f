//! What the statics cost before anything is in use.

use std::fs;

use super::*;

/// Whether `address` lies in a mapping of a file; `None` where the system does not say.
fn is_of_file(address: usize) -> Option<bool> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let is_around = |line: &&str| {
        let (range, _) = line.split_once(' ').expect("a range first");
        let (start, end) = range.split_once('-').expect("two addresses");
        let address_in = |hex| usize::from_str_radix(hex, 16).expect("a hexadecimal number");
        (address_in(start)..address_in(end)).contains(&address)
    };
    let mapping = maps.lines().find(is_around).expect("the address is mapped");
    let inode = mapping.split_whitespace().nth(4).expect("an inode, which is 0 without a file");
    Some(inode != "0")
}

/// With one value other than zero in it, all of a static lies in the executable's file, from which the kernel
/// reads more of it than is in use.
#[test]
fn the_statics_begin_as_zeros_that_no_file_holds() {
    let middles = [
        (&raw const HEAP).addr() + size_of_val(&HEAP) / 2,
        (&raw const LARGE_HEAP).addr() + size_of_val(&LARGE_HEAP) / 2,
    ];
    for middle in middles {
        assert_ne!(is_of_file(middle), Some(true), "{middle:#x}");
    }
}
