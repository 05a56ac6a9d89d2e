//! Tables that DataFusion knows by another statement or keyword.
//!
//! - `LATERAL unnest(...)`: the parser reads a table function, and `unnest` is a keyword.
//! - `SHOW COLUMNS FROM 'file.csv'`: the information schema, which it asks, has no paths. `DESCRIBE` knows
//!   them.

use datafusion::sql::sqlparser::ast::{
    DescribeAlias, FunctionArg, FunctionArgExpr, Statement, TableFactor,
};
use gnist_storage::is_path;

/// Reads `SHOW COLUMNS` of a path as `DESCRIBE`.
pub(super) fn columns_of_path(statement: &mut Statement) {
    let Statement::ShowColumns { show_options, .. } = statement else { return };
    let Some(table) = show_options.show_in.as_ref().and_then(|within| within.parent_name.clone())
    else {
        return;
    };
    let name = table.0.last().and_then(|part| part.as_ident());
    if name.is_some_and(|name| is_path(&name.value)) {
        *statement = Statement::ExplainTable {
            describe_alias: DescribeAlias::Describe,
            hive_format: None,
            has_table_keyword: false,
            table_name: table,
        };
    }
}

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
