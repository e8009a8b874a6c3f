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

#[cfg(feature = "rpmalloc")]
#[global_allocator]
static GLOBAL: rpmalloc::RpMalloc = rpmalloc::RpMalloc;

#[cfg(feature = "rusty_alloc")]
#[global_allocator]
static GLOBAL: rusty_alloc_api::RustyAlloc = rusty_alloc_api::RustyAlloc;

#[cfg(feature = "tcmalloc")]
#[global_allocator]
static GLOBAL: tcmalloc_better::TCMalloc = tcmalloc_better::TCMalloc;

#[cfg(not(any(
    feature = "obmalloc",
    feature = "system",
    feature = "jemalloc",
    feature = "mimalloc",
    feature = "snmalloc",
    feature = "rpmalloc",
    feature = "rusty_alloc",
    feature = "tcmalloc"
)))]
compile_error!("enable exactly one feature that names an allocator");
