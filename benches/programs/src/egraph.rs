//! Simplifies integer expressions as the middle of a compiler does, by equality saturation: rewrite rules
//! and constant folding grow an e-graph until a limit of nodes, then the cheapest equal expression is
//! taken. One unit of scale is one pass over the expressions.

use std::time::{Duration, Instant};

use egg::{
    Analysis, AstSize, DidMerge, EGraph, Extractor, Id, RecExpr, Rewrite, Runner, Symbol,
    define_language, merge_max, rewrite,
};

use crate::Outcome;
use crate::digest;

const NODES: usize = 20_000;
const ITERATIONS: usize = 12;
/// Never reached: where the clock decided, the checksum would change from run to run.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

const EXPRESSIONS: [&str; 8] = [
    "(+ base (* index (+ 4 4)))",
    "(- (+ (* width row) column) (* width row))",
    "(| (& flags 12) (& flags (| mask 12)))",
    "(+ (* left 3) (+ (* right 3) (* 3 (- left right))))",
    "(~ (& (~ ready) (~ (| ready (~ done)))))",
    "(- (* (+ high low) (- high low)) (* high high))",
    "(min (max low (max low value)) (max value (+ low 0)))",
    "(+ (<< (+ page offset) 2) (- (<< (<< page 1) 1) (* offset 4)))",
];

define_language! {
    enum Operation {
        "+" = Add([Id; 2]),
        "-" = Subtract([Id; 2]),
        "*" = Multiply([Id; 2]),
        "<<" = ShiftLeft([Id; 2]),
        "&" = And([Id; 2]),
        "|" = Or([Id; 2]),
        "~" = Not(Id),
        "min" = Minimum([Id; 2]),
        "max" = Maximum([Id; 2]),
        Constant(i64),
        Variable(Symbol),
    }
}

type Graph = EGraph<Operation, ConstantFolding>;
type Rule = Rewrite<Operation, ConstantFolding>;

/// Knows the value of an expression without variables.
#[derive(Default)]
struct ConstantFolding;

impl Analysis<Operation> for ConstantFolding {
    type Data = Option<i64>;

    fn make(graph: &mut Graph, operation: &Operation, _: Id) -> Self::Data {
        let value = |id: &Id| graph[*id].data;
        Some(match operation {
            Operation::Add([a, b]) => value(a)?.wrapping_add(value(b)?),
            Operation::Subtract([a, b]) => value(a)?.wrapping_sub(value(b)?),
            Operation::Multiply([a, b]) => value(a)?.wrapping_mul(value(b)?),
            Operation::ShiftLeft([a, b]) => value(a)?.checked_shl(value(b)?.try_into().ok()?)?,
            Operation::And([a, b]) => value(a)? & value(b)?,
            Operation::Or([a, b]) => value(a)? | value(b)?,
            Operation::Not(a) => !value(a)?,
            Operation::Minimum([a, b]) => value(a)?.min(value(b)?),
            Operation::Maximum([a, b]) => value(a)?.max(value(b)?),
            Operation::Constant(constant) => *constant,
            Operation::Variable(_) => return None,
        })
    }

    fn merge(&mut self, into: &mut Self::Data, from: Self::Data) -> DidMerge {
        // Equal where both are known; the unknown is the lesser.
        merge_max(into, from)
    }

    fn modify(graph: &mut Graph, id: Id) {
        if let Some(constant) = graph[id].data {
            let folded = graph.add(Operation::Constant(constant));
            graph.union(id, folded);
        }
    }
}

pub fn run(passes: u32) -> Result<Outcome, String> {
    let start = Instant::now();
    let mut checksum = 0_u64;
    for _ in 0..passes {
        let rules = rules();
        for expression in EXPRESSIONS {
            checksum = checksum.wrapping_add(simplify(expression, &rules)?);
        }
    }
    Ok(Outcome { elapsed: start.elapsed(), checksum })
}

fn simplify(text: &str, rules: &[Rule]) -> Result<u64, String> {
    let expression: RecExpr<Operation> =
        text.parse().map_err(|error| format!("expression {text:?}: {error}"))?;
    let runner = Runner::default()
        .with_expr(&expression)
        .with_node_limit(NODES)
        .with_iter_limit(ITERATIONS)
        .with_time_limit(TIME_LIMIT)
        .run(rules);
    let extractor = Extractor::new(&runner.egraph, AstSize);
    let (cost, _) = extractor.find_best(runner.roots[0]);
    Ok(digest::of(&(cost, runner.egraph.total_number_of_nodes())))
}

fn rules() -> Vec<Rule> {
    let mut rules = rules_of_arithmetic();
    rules.extend(rules_of_bits());
    rules
}

/// All hold where numbers wrap around.
fn rules_of_arithmetic() -> Vec<Rule> {
    vec![
        rewrite!("addition commutes"; "(+ ?a ?b)" => "(+ ?b ?a)"),
        rewrite!("addition associates"; "(+ ?a (+ ?b ?c))" => "(+ (+ ?a ?b) ?c)"),
        rewrite!("multiplication commutes"; "(* ?a ?b)" => "(* ?b ?a)"),
        rewrite!("multiplication associates"; "(* ?a (* ?b ?c))" => "(* (* ?a ?b) ?c)"),
        rewrite!("distribute"; "(* ?a (+ ?b ?c))" => "(+ (* ?a ?b) (* ?a ?c))"),
        rewrite!("factor out"; "(+ (* ?a ?b) (* ?a ?c))" => "(* ?a (+ ?b ?c))"),
        rewrite!("add nothing"; "(+ ?a 0)" => "?a"),
        rewrite!("multiply by nothing"; "(* ?a 0)" => "0"),
        rewrite!("multiply by one"; "(* ?a 1)" => "?a"),
        rewrite!("subtract itself"; "(- ?a ?a)" => "0"),
        rewrite!("subtract as add"; "(- ?a ?b)" => "(+ ?a (* ?b -1))"),
        rewrite!("add as subtract"; "(+ ?a (* ?b -1))" => "(- ?a ?b)"),
        rewrite!("subtract what was added"; "(- (+ ?a ?b) ?b)" => "?a"),
        rewrite!("add itself"; "(+ ?a ?a)" => "(<< ?a 1)"),
        rewrite!("shift once"; "(<< ?a 1)" => "(* ?a 2)"),
        rewrite!("shift twice"; "(<< ?a 2)" => "(* ?a 4)"),
        rewrite!("multiply by eight"; "(* ?a 8)" => "(<< ?a 3)"),
        rewrite!("minimum commutes"; "(min ?a ?b)" => "(min ?b ?a)"),
        rewrite!("maximum commutes"; "(max ?a ?b)" => "(max ?b ?a)"),
        rewrite!("minimum of itself"; "(min ?a ?a)" => "?a"),
        rewrite!("maximum associates"; "(max ?a (max ?b ?c))" => "(max (max ?a ?b) ?c)"),
        rewrite!("maximum of itself"; "(max ?a ?a)" => "?a"),
        rewrite!("maximum absorbs"; "(max ?a (min ?a ?b))" => "?a"),
    ]
}

fn rules_of_bits() -> Vec<Rule> {
    vec![
        rewrite!("and commutes"; "(& ?a ?b)" => "(& ?b ?a)"),
        rewrite!("and associates"; "(& ?a (& ?b ?c))" => "(& (& ?a ?b) ?c)"),
        rewrite!("or commutes"; "(| ?a ?b)" => "(| ?b ?a)"),
        rewrite!("or associates"; "(| ?a (| ?b ?c))" => "(| (| ?a ?b) ?c)"),
        rewrite!("and with itself"; "(& ?a ?a)" => "?a"),
        rewrite!("or with itself"; "(| ?a ?a)" => "?a"),
        rewrite!("and absorbs"; "(& ?a (| ?a ?b))" => "?a"),
        rewrite!("or absorbs"; "(| ?a (& ?a ?b))" => "?a"),
        rewrite!("and over or"; "(& ?a (| ?b ?c))" => "(| (& ?a ?b) (& ?a ?c))"),
        rewrite!("or of ands"; "(| (& ?a ?b) (& ?a ?c))" => "(& ?a (| ?b ?c))"),
        rewrite!("not of and"; "(~ (& ?a ?b))" => "(| (~ ?a) (~ ?b))"),
        rewrite!("not of or"; "(~ (| ?a ?b))" => "(& (~ ?a) (~ ?b))"),
        rewrite!("not of not"; "(~ (~ ?a))" => "?a"),
        rewrite!("not both"; "(& ?a (~ ?a))" => "0"),
        rewrite!("either"; "(| ?a (~ ?a))" => "-1"),
    ]
}
