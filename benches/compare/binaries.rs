//! Builds the binaries of the `workload` package once for each allocator and profile.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::catalogue::{Allocator, Suite};
use crate::options::Options;

/// One binary: an allocator in a profile, with the workloads of a suite.
pub struct Contestant {
    pub suite: Suite,
    pub allocator: &'static str,
    pub profile: &'static str,
    pub executable: PathBuf,
}

/// A binary that could not be built, and why.
pub struct Absence {
    pub suite: Suite,
    pub allocator: &'static str,
    pub profile: &'static str,
    pub reason: String,
}

/// Builds in a target directory, and puts the binaries into a directory.
pub fn build_all(
    options: &Options,
    target: &Path,
    directory: &Path,
) -> (Vec<Contestant>, Vec<Absence>) {
    eprintln!("building; the first time takes minutes, most of them for C code");
    let mut contestants = Vec::new();
    let mut absences = Vec::new();
    for suite in options.suites() {
        for &profile in &options.profiles {
            for allocator in &options.allocators {
                let (binary, name) = (suite.binary(), allocator.name);
                eprintln!("building {binary} with {name} ({profile})");
                match build(suite, allocator, profile, target, directory) {
                    Ok(executable) => {
                        contestants.push(Contestant {
                            suite,
                            allocator: name,
                            profile,
                            executable,
                        });
                    }
                    Err(reason) => {
                        absences.push(Absence { suite, allocator: name, profile, reason });
                    }
                }
            }
        }
    }
    (contestants, absences)
}

/// `cargo`, in the root of the workspace.
pub fn cargo() -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn build(
    suite: Suite,
    allocator: &Allocator,
    profile: &str,
    target: &Path,
    directory: &Path,
) -> Result<PathBuf, String> {
    let output = cargo()
        .args(["build", "--package", "workload", "--bin", suite.binary()])
        .args(["--profile", profile, "--no-default-features"])
        .args(["--features", allocator.name])
        .args(suite.feature().into_iter().flat_map(|feature| ["--features", feature]))
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target)
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        eprintln!("{messages}");
        return Err(errors_in(&messages));
    }
    let built = executable(&String::from_utf8_lossy(&output.stdout))
        .ok_or("cargo did not say where it put the executable")?;
    // The next allocator's binary takes the same place.
    let copies = directory.join(profile).join(suite.name());
    let copy = copies.join(format!("{}{}", allocator.name, env::consts::EXE_SUFFIX));
    fs::create_dir_all(&copies).and_then(|()| fs::copy(&built, &copy)).map_err(|error| {
        format!("cannot copy {} to {}: {error}", built.display(), copy.display())
    })?;
    Ok(copy)
}

/// The lines that open an error, out of what may be pages from a build script.
fn errors_in(messages: &str) -> String {
    let lines = messages.lines().map(str::trim);
    let errors: Vec<&str> = lines.filter(|line| line.starts_with("error")).collect();
    format!("cargo build failed\n{}", errors.join("\n"))
}

/// The path in the last of cargo's messages that names an executable.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
}
