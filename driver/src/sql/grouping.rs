//! `GROUPING SETS` with `ROLLUP` or `CUBE` among them: written out. The parser takes them for calls there.
//!
//! `GROUP BY ()` and `GROUP BY GROUPING SETS (())`: one group of all rows, even of none.
//!
//! DataFusion refuses the empty tuple. Beside other keys it adds nothing. Alone it is what an
//! aggregate without `GROUP BY` means, and a `HAVING` on an aggregate makes the query one.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Select,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::dialect::GnistDialect;
use super::key_names::normalized;

/// Keys of a `CUBE` at most: 12 are 4,096 sets.
const CUBE_KEYS_MAX: usize = 12;

/// Writes out sets inside `GROUPING SETS`.
pub(super) fn nested_sets(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return };
    for key in keys {
        if let Expr::GroupingSets(sets) = key {
            *sets = sets.drain(..).flat_map(written_out).collect();
        }
    }
}

/// The sets that one element of `GROUPING SETS` stands for.
fn written_out(set: Vec<Expr>) -> Vec<Vec<Expr>> {
    match set.as_slice() {
        [Expr::Function(call)] => match (call_name(call).as_deref(), keys_of(call)) {
            (Some("rollup"), Some(keys)) => {
                (0..=keys.len()).rev().map(|length| keys[..length].concat()).collect()
            }
            (Some("cube"), Some(keys)) if keys.len() <= CUBE_KEYS_MAX => {
                (0..1_usize << keys.len()).rev().map(|chosen| subset(&keys, chosen)).collect()
            }
            _ => vec![set],
        },
        _ => vec![set],
    }
}

/// The keys whose bits are set, the first key being the highest.
fn subset(keys: &[Vec<Expr>], chosen: usize) -> Vec<Expr> {
    let last = keys.len().saturating_sub(1);
    let chosen = keys.iter().enumerate().filter(|(at, _)| chosen >> (last - at) & 1 == 1);
    chosen.flat_map(|(_, key)| key.clone()).collect()
}

fn call_name(call: &Function) -> Option<String> {
    match call.name.0.as_slice() {
        [part] => part.as_ident().map(normalized),
        _ => None,
    }
}

/// The arguments of a call as keys; a tuple is one key of several expressions.
fn keys_of(call: &Function) -> Option<Vec<Vec<Expr>>> {
    let FunctionArguments::List(list) = &call.args else { return None };
    let key = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Tuple(exprs))) => Some(exprs.clone()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(vec![expr.clone()]),
        _ => None,
    };
    list.args.iter().map(key).collect()
}

/// Replaces empty tuples in a `GROUP BY`.
pub(super) fn empty_groups(select: &mut Select) {
    let GroupByExpr::Expressions(keys, modifiers) = &mut select.group_by else { return };
    let before = keys.len();
    keys.retain(|key| !is_empty(key));
    if keys.len() == before || !keys.is_empty() || !modifiers.is_empty() {
        return;
    }
    let always = Parser::new(&GnistDialect).try_with_sql("count(*) >= 0");
    let always = always.and_then(|mut parser| parser.parse_expr()).expect("an expression");
    select.having = Some(match select.having.take() {
        None => always,
        Some(having) => Expr::BinaryOp {
            left: Box::new(always),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(Box::new(having))),
        },
    });
}

fn is_empty(key: &Expr) -> bool {
    match key {
        Expr::Tuple(values) => values.is_empty(),
        Expr::GroupingSets(sets) => matches!(sets.as_slice(), [set] if set.is_empty()),
        _ => false,
    }
}
