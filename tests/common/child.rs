//! Runs the body of a test in a process of its own, which it may measure, exhaust, corrupt or end.
//!
//! The process is this test program, started again for the one test: there `run` does not start
//! another, but calls the body and exits with code 0. An alarm ends a process that hangs.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio, exit};

/// Set in the environment of a process that is to run the body.
const IN_CHILD: &str = "TEST_IN_CHILD";

/// What the process says first, to show that it ran the body and not just no test at all.
const BEGUN: &str = "the body of the test begins";

/// Time that a process has, far above what any needs.
const SECONDS: u32 = 120;

/// How a process ended, and what it said.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `body` in a process of its own; `test` is the name of the `#[test]` function that calls it.
///
/// # Panics
///
/// If the process did not run the body, or hung.
pub fn run(test: &str, body: fn()) -> Ended {
    run_with(test, &[], body)
}

/// As [`run`], with these variables in its environment.
pub fn run_with(test: &str, variables: &[(&str, &str)], body: fn()) -> Ended {
    if env::var_os(IN_CHILD).is_some() {
        // SAFETY: `alarm` has no conditions.
        unsafe { libc::alarm(SECONDS) };
        println!("{BEGUN}");
        body();
        exit(0);
    }
    let output = Command::new(env::current_exe().expect("the path of this program"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(IN_CHILD, "1")
        .envs(variables.iter().copied())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .expect("this program can be started");
    let ended = Ended {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert!(ended.stdout.contains(BEGUN), "{test}: no such test?\n{}", ended.stdout);
    assert!(ended.status.signal() != Some(libc::SIGALRM), "{test}: hung\n{}", ended.stderr);
    ended
}

/// Runs `body` as [`run`] does, and returns what it wrote to stdout.
///
/// # Panics
///
/// If the process did not end with code 0.
pub fn passes(test: &str, body: fn()) -> String {
    let Ended { status, stdout, stderr } = run(test, body);
    assert!(status.success(), "{test}: {status}\n{stdout}\n{stderr}");
    stdout
}
