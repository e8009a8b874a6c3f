//! The files that workloads read: cargo's description of this workspace, and lists of the sources, the
//! documents and the manifests that cargo has unpacked for it.
//!
//! What only the programs depend on is left out: the other workloads read the same as without them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::binaries;
use crate::catalogue::{ALLOCATORS, Allocator, Input};

/// How much is taken of one package, so that the large ones do not crowd out the others, and of all.
const BYTES_PER_PACKAGE: u64 = 128 << 10;
const BYTES: u64 = 2 << 20;

pub struct Inputs {
    metadata: Value,
    metadata_file: PathBuf,
    sources_file: PathBuf,
    documents_file: PathBuf,
    manifests_file: PathBuf,
}

impl Inputs {
    pub fn prepare(directory: &Path) -> Result<Self, String> {
        let text = describe_workspace()?;
        let metadata: Value = serde_json::from_str(&text)
            .map_err(|error| format!("the output of cargo metadata is not JSON: {error}"))?;
        let inputs = Self {
            sources_file: directory.join("sources.json"),
            metadata_file: directory.join("metadata.json"),
            documents_file: directory.join("documents.json"),
            manifests_file: directory.join("manifests.json"),
            metadata,
        };
        let packages = inputs.packages();
        write(&inputs.metadata_file, &text)?;
        write(&inputs.sources_file, &select(&packages, sources)?.to_string())?;
        write(&inputs.documents_file, &select(&packages, documents)?.to_string())?;
        write(&inputs.manifests_file, &select(&packages, manifests)?.to_string())?;
        Ok(inputs)
    }

    pub fn file(&self, input: Input) -> Option<&Path> {
        match input {
            Input::None => None,
            Input::Metadata => Some(&self.metadata_file),
            Input::Sources => Some(&self.sources_file),
            Input::Documents => Some(&self.documents_file),
            Input::Manifests => Some(&self.manifests_file),
        }
    }

    /// The packages of an allocator with their versions.
    pub fn versions(&self, allocator: &Allocator) -> Vec<String> {
        self.packages()
            .iter()
            .filter(|package| allocator.packages.contains(&package.name))
            .map(|package| format!("{} {}", package.name, package.version))
            .collect()
    }

    fn packages(&self) -> Vec<Package<'_>> {
        let packages = self.metadata["packages"].as_array();
        packages.into_iter().flatten().filter_map(Package::new).collect()
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    manifest: &'a str,
    is_local: bool,
}

impl<'a> Package<'a> {
    fn new(package: &'a Value) -> Option<Self> {
        Some(Self {
            name: package["name"].as_str()?,
            version: package["version"].as_str()?,
            manifest: package["manifest_path"].as_str()?,
            is_local: package["source"].is_null(),
        })
    }
}

fn describe_workspace() -> Result<String, String> {
    // Only what this platform needs: the rest need not be unpacked.
    let platform = host_platform()?;
    let mut cargo = binaries::cargo();
    cargo.args(["metadata", "--format-version", "1"]);
    for allocator in &ALLOCATORS {
        cargo.args(["--features", &format!("workload/{}", allocator.name)]);
    }
    cargo.args(["--filter-platform", &platform]);
    output_of(&mut cargo)
}

fn host_platform() -> Result<String, String> {
    let version = rustc_version()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not name its host platform".to_owned())
}

pub fn rustc_version() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    output_of(Command::new(rustc).arg("-vV"))
}

fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed: {}", errors.trim()));
    }
    String::from_utf8(output.stdout)
        .map_err(|error| format!("the output of {command:?} is not text: {error}"))
}

/// An array of the paths of files that are found in the directories of the packages, as far as they are
/// within bounds.
///
/// The packages of this workspace are left out, as they change from commit to commit.
fn select(
    packages: &[Package],
    find: impl Fn(&Path) -> Result<Vec<File>, String>,
) -> Result<Value, String> {
    let mut packages: Vec<_> = packages.iter().filter(|package| !package.is_local).collect();
    packages.sort();
    let mut paths = Vec::new();
    let mut left = BYTES;
    for package in packages {
        let mut package_left = BYTES_PER_PACKAGE;
        for File { path, size } in find(&Path::new(package.manifest).with_file_name(""))? {
            if size <= left.min(package_left)
                && let Some(path) = path.to_str()
            {
                left -= size;
                package_left -= size;
                paths.push(Value::from(path));
            }
        }
    }
    Ok(Value::from(paths))
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct File {
    path: PathBuf,
    size: u64,
}

/// The Rust files of a package, sorted by path.
fn sources(package: &Path) -> Result<Vec<File>, String> {
    let mut sources = Vec::new();
    let mut pending = vec![package.join("src")];
    while let Some(directory) = pending.pop() {
        // Not every package keeps its sources in `src`.
        if directory.is_dir() {
            let (files, directories) = entries(&directory)?;
            sources.extend(files.into_iter().filter(|file| has_extension(file, "rs")));
            pending.extend(directories);
        }
    }
    sources.sort();
    Ok(sources)
}

/// What a package says about itself in Markdown.
fn documents(package: &Path) -> Result<Vec<File>, String> {
    let (mut files, _) = entries(package)?;
    files.retain(|file| has_extension(file, "md"));
    Ok(files)
}

fn manifests(package: &Path) -> Result<Vec<File>, String> {
    let (mut files, _) = entries(package)?;
    files.retain(|file| file.path.ends_with("Cargo.toml"));
    Ok(files)
}

fn has_extension(file: &File, wanted: &str) -> bool {
    file.path.extension().is_some_and(|extension| extension == wanted)
}

/// The files in a directory, sorted by path, and the directories in it.
fn entries(directory: &Path) -> Result<(Vec<File>, Vec<PathBuf>), String> {
    let cannot_read = |error| format!("cannot read {}: {error}", directory.display());
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory).map_err(cannot_read)? {
        let entry = entry.map_err(cannot_read)?;
        let about = entry.metadata().map_err(cannot_read)?;
        if about.is_dir() {
            directories.push(entry.path());
        } else if about.is_file() {
            files.push(File { path: entry.path(), size: about.len() });
        }
    }
    files.sort();
    Ok((files, directories))
}

pub fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
