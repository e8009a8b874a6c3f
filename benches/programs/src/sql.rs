//! Parses the statements of an application to syntax trees, clones and prints the trees, as a tool that
//! formats or checks SQL does. One unit of scale is one pass over some hundred statements.

use std::time::Instant;

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::Outcome;
use crate::{digest, statements};

pub fn run(passes: u32) -> Result<Outcome, String> {
    let texts = statements::all();
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        checksum = checksum.wrapping_add(parse_and_print(&texts)?);
    }
    Ok(Outcome { elapsed: start.elapsed(), checksum })
}

fn parse_and_print(texts: &[String]) -> Result<u64, String> {
    let mut parsed: Vec<Statement> = Vec::new();
    for text in texts {
        let statements = Parser::parse_sql(&PostgreSqlDialect {}, text)
            .map_err(|error| format!("statement {text:?}: {error}"))?;
        parsed.extend(statements);
    }
    let copies = parsed.clone();
    drop(parsed);
    let printed: Vec<String> = copies.iter().map(Statement::to_string).collect();
    Ok(digest::of(&printed))
}
