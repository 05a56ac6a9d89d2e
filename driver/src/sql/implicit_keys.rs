//! Groups by the keys that are written, and no others.
//!
//! While DataFusion plans `GROUP BY a`, it adds every column to the keys that it knows to depend on `a`, and
//! it goes on to know that of the groups of an inner query above a join or `unnest`, where it is no longer
//! true. So every `GROUP BY` gets one key more, a constant that no query selects: nothing depends on keys
//! that are not all there. The rule, the first of the analyzer, takes it out again.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, GroupByExpr, Select, Value};

/// The constant.
const MARK: &str = "\u{1}keys";

/// The text of a statement without the constant, for tests of other rewrites.
#[cfg(test)]
pub(super) fn without_mark(text: &str) -> String {
    text.replace(&format!(", '{MARK}'"), "")
}

/// Adds the constant to the keys of a `SELECT`. Grouping sets have names for their keys, and stay.
pub(super) fn marked(select: &mut Select) {
    let GroupByExpr::Expressions(keys, modifiers) = &mut select.group_by else { return };
    if !keys.is_empty() && modifiers.is_empty() && keys.iter().all(is_plain) {
        keys.push(SqlExpr::value(Value::SingleQuotedString(MARK.to_owned())));
    }
}

fn is_plain(key: &SqlExpr) -> bool {
    match key {
        SqlExpr::GroupingSets(_) | SqlExpr::Cube(_) | SqlExpr::Rollup(_) | SqlExpr::Tuple(_) => {
            false
        }
        SqlExpr::Function(call) => {
            let name = call.name.to_string().to_lowercase();
            name != "rollup" && name != "cube"
        }
        _ => true,
    }
}

/// The rule that takes the constant out. See the module.
#[derive(Debug)]
pub(super) struct WrittenKeys;

impl AnalyzerRule for WrittenKeys {
    fn name(&self) -> &'static str {
        "written_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut is_new = false;
        let written = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(mut aggregate) if aggregate.group_expr.iter().any(is_mark) => {
                is_new = true;
                aggregate.group_expr.retain(|key| !is_mark(key));
                let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
                let written = Aggregate::try_new(input, group_expr, aggr_expr)?;
                Ok(Transformed::yes(LogicalPlan::Aggregate(written)))
            }
            node if is_new => node.recompute_schema().map(Transformed::yes),
            node => Ok(Transformed::no(node)),
        });
        written.data()
    }
}

fn is_mark(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(text)), _) if text == MARK)
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;

    #[test]
    fn written_keys_are_marked_and_grouping_sets_are_not() {
        let marked = |text| parse(text).expect(text)[0].to_string().contains(super::MARK);
        assert!(marked("select a from t group by a"));
        assert!(marked("select * from (select a from t group by a, b)"));
        for text in [
            "select count(*) from t",
            "select a from t group by rollup(a)",
            "select a from t group by grouping sets ((a), ())",
            "select a from t group by all",
        ] {
            assert!(!marked(text), "{text}");
        }
    }
}
