//! Processes that do nothing, one after the other: what an allocator costs a program that hardly uses it. Each
//! is this program again, which ends at once. The kernel has most of the time. The memory is that of the
//! process which starts the others and does little else, either. One unit of scale is ten processes.

use std::env;
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::harness::Measurement;

const PROCESSES_PER_UNIT: u32 = 10;

/// In place of a workload's name: ends at once.
const NOTHING: &str = "nothing";

/// How a process that does nothing ends: not as one that never came so far.
const ENDS_WITH: u8 = 7;

/// The end of a process that is to do nothing; `None` if this one is not.
pub fn nothing() -> Option<ExitCode> {
    (env::args().nth(1)? == NOTHING).then(|| ExitCode::from(ENDS_WITH))
}

pub fn run(scale: u32) -> Result<Measurement, String> {
    let program = env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    let processes = scale * PROCESSES_PER_UNIT;
    let start = Instant::now();
    let mut checksum = 0;
    for _ in 0..processes {
        let status = Command::new(&program)
            .arg(NOTHING)
            .status()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        checksum += status.code().and_then(|code| u64::try_from(code).ok()).unwrap_or(0);
    }
    let elapsed = start.elapsed();
    Ok(Measurement { elapsed, operations: Some(processes.into()), checksum, held: None })
}
