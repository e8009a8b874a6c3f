//! Runs a script that keeps the books of a shop: objects, closures, maps, strings, sorting and JSON. One
//! unit of scale is one run of the script, in an engine of its own.

use std::time::Instant;

use boa_engine::{Context, JsResult, Source};

use crate::Outcome;
use crate::digest;

const SCRIPT: &str = include_str!("shop.js");

pub fn run(passes: u32) -> Result<Outcome, String> {
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        let result = evaluate().map_err(|error| format!("the script: {error}"))?;
        checksum = checksum.wrapping_add(digest::of(&result));
    }
    Ok(Outcome { elapsed: start.elapsed(), checksum })
}

fn evaluate() -> JsResult<String> {
    let mut context = Context::default();
    let value = context.eval(Source::from_bytes(SCRIPT))?;
    Ok(value.to_string(&mut context)?.to_std_string_escaped())
}
