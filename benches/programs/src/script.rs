//! Compiles a script in an embedded language and runs it: the rules by which an application assigns
//! tickets, with arrays, maps, strings and closures. One unit of scale is one run, in an engine of its own.

use std::time::Instant;

use rhai::{Engine, EvalAltResult};

use crate::Outcome;
use crate::digest;

const SCRIPT: &str = include_str!("tickets.rhai");

pub fn run(passes: u32) -> Result<Outcome, String> {
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        let result = evaluate().map_err(|error| format!("the script: {error}"))?;
        checksum = checksum.wrapping_add(digest::of(&result));
    }
    Ok(Outcome { elapsed: start.elapsed(), checksum })
}

fn evaluate() -> Result<String, Box<EvalAltResult>> {
    let engine = Engine::new();
    let program = engine.compile(SCRIPT)?;
    engine.eval_ast(&program)
}
