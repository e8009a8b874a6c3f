//! The global allocator of this process, chosen by a cargo feature.
//!
//! The system allocator is named like the others, so that no build differs by more than this one item.
//! Two features at once are refused by the compiler, which allows one global allocator.

#[cfg(feature = "obmalloc")]
#[global_allocator]
static GLOBAL: obmalloc::Obmalloc = obmalloc::Obmalloc::new();

#[cfg(feature = "system")]
#[global_allocator]
static GLOBAL: std::alloc::System = std::alloc::System;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "snmalloc")]
#[global_allocator]
static GLOBAL: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

#[cfg(not(any(
    feature = "obmalloc",
    feature = "system",
    feature = "jemalloc",
    feature = "mimalloc",
    feature = "snmalloc"
)))]
compile_error!(
    "enable exactly one of the features obmalloc, system, jemalloc, mimalloc and snmalloc"
);
