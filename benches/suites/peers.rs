//! The allocators that are compared: their only list, so that no suite names one.
//!
//! None of them serves the process itself: its global allocator stays the system's. Nor does one of them, as
//! these features build it, define C's `malloc` and its kin or C++'s `operator new`: the symbols of a suite have these
//! undefined, and so what is measured as the system's is the C library's. A new peer owes the same; with `nm`,
//! none of the names may be marked as defined.

use std::alloc::{GlobalAlloc, System};

use obmalloc::Obmalloc;

/// What is done with each allocator.
pub trait Visitor {
    fn visit<A: GlobalAlloc>(&mut self, name: &str, allocator: A);
}

/// Packages of a build with their versions. One that was not built is listed all the same.
const LOCK_FILE: &str = include_str!("../../Cargo.lock");

struct Peer {
    name: &'static str,
    is_built: bool,
    /// The packages whose versions say which release it is.
    packages: &'static [&'static str],
}

/// Each peer is a feature of this package.
macro_rules! peers {
    ($($feature:literal: $allocator:expr, $packages:expr;)*) => {
        const PEERS: &[Peer] = &[$(
            Peer { name: $feature, is_built: cfg!(feature = $feature), packages: &$packages },
        )*];

        /// Shows the visitor each allocator that was built, this one first.
        pub fn visit_all(visitor: &mut impl Visitor) {
            visitor.visit("obmalloc", Obmalloc::new());
            visitor.visit("system", System);
            $(
                #[cfg(feature = $feature)]
                visitor.visit($feature, $allocator);
            )*
        }
    };
}

peers! {
    "jemalloc": tikv_jemallocator::Jemalloc, ["tikv-jemallocator", "tikv-jemalloc-sys"];
    "mimalloc": mimalloc::MiMalloc, ["mimalloc", "libmimalloc-sys"];
    "snmalloc": snmalloc_rs::SnMalloc, ["snmalloc-rs", "snmalloc-sys"];
    "rpmalloc": rpmalloc::RpMalloc, ["rpmalloc", "rpmalloc-sys"];
    "rusty_alloc": rusty_alloc_api::RustyAlloc, ["rusty_alloc-api", "rusty_alloc"];
    "tcmalloc": tcmalloc_better::TCMalloc, ["tcmalloc-better", "libtcmalloc-sys"];
}

/// Says which allocators are measured, in which versions, and which are not.
pub fn report() {
    eprintln!("obmalloc: {}", versions(&["obmalloc"]));
    eprintln!("system: that of this platform");
    for peer in PEERS {
        if peer.is_built {
            eprintln!("{}: {}", peer.name, versions(peer.packages));
        } else {
            eprintln!("{}: NOT MEASURED, its feature is off", peer.name);
        }
    }
    eprintln!();
}

fn versions(packages: &[&str]) -> String {
    let named: Vec<String> =
        packages.iter().map(|package| format!("{package} {}", version(package))).collect();
    named.join(", ")
}

/// The version of a package, which stands in the line below its name.
fn version(package: &str) -> &'static str {
    let name_line = format!("name = \"{package}\"");
    let mut lines = LOCK_FILE.lines().skip_while(|line| *line != name_line);
    let version_line = lines.nth(1).and_then(|line| line.strip_prefix("version = "));
    version_line.map_or("of unknown version", |version| version.trim_matches('"'))
}
