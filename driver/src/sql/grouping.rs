//! `GROUP BY ()` and `GROUP BY GROUPING SETS (())`: one group of all rows, even of none.
//!
//! DataFusion refuses the empty tuple. Beside other keys it adds nothing. Alone it is what an
//! aggregate without `GROUP BY` means, and a `HAVING` on an aggregate makes the query one.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, GroupByExpr, Select};
use datafusion::sql::sqlparser::parser::Parser;

use super::dialect::GnistDialect;

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
