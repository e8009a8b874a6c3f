//! What is compared: the allocators, the cargo profiles, and the workloads in their suites.

/// An allocator is a feature of the `workload` package.
pub struct Allocator {
    pub name: &'static str,
    /// The packages whose versions say which release of the allocator was measured.
    pub packages: &'static [&'static str],
    /// In the charts; told apart also by the colour-blind.
    pub colour: &'static str,
    /// In the charts, too: the outline of a mark around the origin, as SVG writes paths.
    pub mark: &'static str,
}

pub const ALLOCATORS: [Allocator; 8] = [
    Allocator {
        name: SUBJECT,
        packages: &["obmalloc"],
        colour: "#d55e00",
        mark: "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    },
    Allocator { name: "system", packages: &[], colour: "#9a9a9a", mark: "M-4 -4h8v8h-8z" },
    Allocator {
        name: "jemalloc",
        packages: &["tikv-jemallocator", "tikv-jemalloc-sys"],
        colour: "#56b4e9",
        mark: "M0 -5l5 9h-10z",
    },
    Allocator {
        name: "mimalloc",
        packages: &["mimalloc", "libmimalloc-sys"],
        colour: "#00795a",
        mark: "M0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
    },
    Allocator {
        name: "snmalloc",
        packages: &["snmalloc-rs", "snmalloc-sys"],
        colour: "#cc79a7",
        mark: "M0 5l5 -9h-10z",
    },
    Allocator {
        name: "rpmalloc",
        packages: &["rpmalloc", "rpmalloc-sys"],
        colour: "#e69f00",
        mark: "M-1.5 -5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
    },
    Allocator {
        name: "rusty_alloc",
        packages: &["rusty_alloc-api", "rusty_alloc"],
        colour: "#332288",
        mark: "M-5 -2.5l2.5 -2.5l2.5 2.5l2.5 -2.5l2.5 2.5l-2.5 2.5l2.5 2.5l-2.5 2.5l-2.5 -2.5l-2.5 2.5l-2.5 -2.5l2.5 -2.5z",
    },
    Allocator {
        name: "tcmalloc",
        packages: &["tcmalloc-better", "libtcmalloc-sys"],
        colour: "#88ccee",
        mark: "M-5 -2h10v4h-10z",
    },
];

/// The allocator that this comparison is about; the others are its peers.
pub const SUBJECT: &str = "obmalloc";

pub const PROFILES: [&str; 2] = ["release", "fat-lto"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    SmallBlocks,
    LargeBlocks,
    RealProgram,
    /// Processes that hardly allocate.
    Start,
    /// Asks what is held at a moment of the workload's choice.
    Memory,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::RealProgram, Self::SmallBlocks, Self::LargeBlocks, Self::Start, Self::Memory];
    /// The kinds that are about time; how long the others take decides nothing.
    pub const TIMED: [Self; 4] =
        [Self::RealProgram, Self::SmallBlocks, Self::LargeBlocks, Self::Start];

    /// The kinds of several workloads, of which a chart shows more than a table.
    pub const CHARTED: [Self; 4] =
        [Self::RealProgram, Self::SmallBlocks, Self::LargeBlocks, Self::Memory];

    pub fn name(self) -> &'static str {
        match self {
            Self::SmallBlocks => "small blocks",
            Self::LargeBlocks => "large blocks",
            Self::RealProgram => "real programs",
            Self::Start => "start of a program",
            Self::Memory => "memory that comes back",
        }
    }
}

/// The workloads of a suite live in one binary of the `workload` package.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// What needs few dependencies.
    Lean,
    /// Real programs that are made of hundreds of packages. These are compiled once a profile, which takes
    /// minutes; with fat LTO, so does linking them with each allocator.
    Programs,
}

pub const SUITES: [Suite; 2] = [Suite::Lean, Suite::Programs];

impl Suite {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lean => "lean",
            Self::Programs => "programs",
        }
    }

    pub fn binary(self) -> &'static str {
        match self {
            Self::Lean => "workload",
            Self::Programs => "programs",
        }
    }

    /// The feature of the package that brings the dependencies of the binary.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::Lean => None,
            Self::Programs => Some("programs"),
        }
    }
}

/// The file that a workload reads before its clock starts.
#[derive(Clone, Copy)]
pub enum Input {
    None,
    Metadata,
    Sources,
    Documents,
    Manifests,
}

pub struct Workload {
    pub name: &'static str,
    pub suite: Suite,
    pub kind: Kind,
    pub input: Input,
    /// Whether it keeps as many threads busy as it is asked to, rather than a number of its own.
    pub is_threaded: bool,
    /// Repetitions for about a second, and for about a tenth to two tenths of one. A million replacements
    /// take longer, but fewer would still show the order in which the slots were filled. Those about memory
    /// take what they need to be telling, and about a fifth of it.
    pub full_scale: u32,
    pub quick_scale: u32,
}

pub const WORKLOADS: [Workload; 46] = [
    real_program("json", Input::Metadata, 250, 40),
    real_program("syn", Input::Sources, 6, 1),
    real_program("index", Input::Sources, 10, 2),
    program("regex", Input::None, 27, 4),
    program("html", Input::Documents, 25, 4),
    program("markdown", Input::Documents, 50, 8),
    program("search", Input::Sources, 18, 3),
    program("egraph", Input::None, 60, 9),
    program("javascript", Input::None, 34, 5),
    program("persistent", Input::None, 60, 9),
    program("async", Input::None, 240, 36),
    program("toml", Input::Manifests, 160, 25),
    program("sql", Input::None, 70, 11),
    program("script", Input::None, 130, 20),
    synthetic(Kind::SmallBlocks, "trees-1", 5, 1),
    threaded(Kind::SmallBlocks, "trees-n", 5, 1),
    threaded(Kind::SmallBlocks, "larson-n", 200, 30),
    threaded(Kind::SmallBlocks, "xmalloc", 15_000, 2_000),
    threaded(Kind::SmallBlocks, "mstress", 80, 12),
    threaded(Kind::SmallBlocks, "rptest", 60, 10),
    threaded(Kind::SmallBlocks, "sh6", 50, 8),
    threaded(Kind::SmallBlocks, "sh8", 50, 8),
    threaded(Kind::SmallBlocks, "scratch", 500, 75),
    threaded(Kind::SmallBlocks, "thrash", 500, 75),
    threaded(Kind::SmallBlocks, "threads", 40, 7),
    threaded(Kind::SmallBlocks, "pipeline", 30_000, 5_000),
    synthetic(Kind::SmallBlocks, "btree", 15, 2),
    synthetic(Kind::SmallBlocks, "strings", 30, 5),
    synthetic(Kind::SmallBlocks, "map", 5, 1),
    synthetic(Kind::SmallBlocks, "list", 30, 5),
    synthetic(Kind::SmallBlocks, "scatter", 10, 2),
    synthetic(Kind::SmallBlocks, "pairs", 20, 3),
    synthetic(Kind::SmallBlocks, "replace-1m", 3, 1),
    synthetic(Kind::LargeBlocks, "replace-8k", 4, 1),
    threaded(Kind::LargeBlocks, "buffers", 30_000, 5_000),
    synthetic(Kind::LargeBlocks, "frames", 200, 30),
    synthetic(Kind::Start, "start", 80, 12),
    synthetic(Kind::Memory, "spike", 400, 80),
    synthetic(Kind::Memory, "sparse", 400, 80),
    synthetic(Kind::Memory, "sparse-80", 80, 80),
    synthetic(Kind::Memory, "list-20", 1_000, 200),
    synthetic(Kind::Memory, "list-3", 1_000, 200),
    synthetic(Kind::Memory, "drift", 64, 13),
    synthetic(Kind::Memory, "reclass", 400, 80),
    synthetic(Kind::Memory, "rotate", 10, 2),
    synthetic(Kind::Memory, "giveaway", 10, 2),
];

const fn real_program(
    name: &'static str,
    input: Input,
    full_scale: u32,
    quick_scale: u32,
) -> Workload {
    let (suite, kind) = (Suite::Lean, Kind::RealProgram);
    Workload { name, suite, kind, input, is_threaded: false, full_scale, quick_scale }
}

const fn program(name: &'static str, input: Input, full_scale: u32, quick_scale: u32) -> Workload {
    Workload { suite: Suite::Programs, ..real_program(name, input, full_scale, quick_scale) }
}

const fn synthetic(kind: Kind, name: &'static str, full_scale: u32, quick_scale: u32) -> Workload {
    let (suite, input) = (Suite::Lean, Input::None);
    Workload { name, suite, kind, input, is_threaded: false, full_scale, quick_scale }
}

const fn threaded(kind: Kind, name: &'static str, full_scale: u32, quick_scale: u32) -> Workload {
    Workload { is_threaded: true, ..synthetic(kind, name, full_scale, quick_scale) }
}
