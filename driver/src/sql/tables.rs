//! `LATERAL unnest(...)`: the parser reads a table function, DataFusion knows `unnest` as a keyword.

use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, TableFactor};

/// Reads a lateral call of `unnest` as `UNNEST`, which is lateral anyway.
pub(super) fn lateral_unnest(table: &mut TableFactor) {
    let TableFactor::Function { name, args, alias, .. } = table else { return };
    if !name.to_string().eq_ignore_ascii_case("unnest") {
        return;
    }
    let values = args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    let Some(array_exprs) = values.collect::<Option<Vec<_>>>() else { return };
    *table = TableFactor::UNNEST {
        alias: alias.take(),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
}
