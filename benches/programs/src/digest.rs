//! What programs make their checksums of: a hash that is the same in every run.

use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// The standard hash function, but with the same keys in every run.
pub type FixedHasher = BuildHasherDefault<DefaultHasher>;

pub fn of(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
