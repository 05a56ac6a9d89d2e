//! `IN`, `ANY` and `ALL` with three values, as `EXISTS`.
//!
//! `x op ANY (q)` is true when some row of `q` makes the comparison true; null when none does and
//! some row makes it null; else false:
//!
//! ```text
//! CASE WHEN EXISTS (q WHERE x op v)           THEN TRUE
//!      WHEN EXISTS (q WHERE (x op v) IS NULL) THEN NULL
//!      ELSE FALSE END
//! ```
//!
//! `IN` is `= ANY`. `ALL` is the same with the comparison and the answer negated. Where neither side
//! can be null the second branch goes. Where `q` is the same for all outer rows, `(x = v) IS NULL`
//! is split, for it would be a join on a condition that is no equality: `x IS NULL` and `q` has a
//! row, or `q` has a null.

use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{
    Case, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, binary_expr,
    lit,
};

use super::super::reserved::reserved;
use super::Rewriter;
use super::references;

/// A comparison of one value with all of a subquery.
pub(super) struct Quantified {
    operand: Expr,
    op: Operator,
    subquery: Subquery,
    is_all: bool,
    is_negated: bool,
}

impl From<InSubquery> for Quantified {
    fn from(within: InSubquery) -> Self {
        Self {
            operand: *within.expr,
            op: Operator::Eq,
            subquery: within.subquery,
            is_all: false,
            is_negated: within.negated,
        }
    }
}

impl From<SetComparison> for Quantified {
    fn from(set: SetComparison) -> Self {
        Self {
            operand: *set.expr,
            op: set.op,
            subquery: set.subquery,
            is_all: set.quantifier == SetQuantifier::All,
            is_negated: false,
        }
    }
}

/// The values that the reader of a comparison tells apart.
pub(super) enum Reading {
    /// True, false or null.
    Value,
    /// True, or one of the others: a conjunct of a filter.
    Truth,
}

/// Returns true if a comparison with this subquery can be null.
pub(super) fn may_be_null(
    operand: &Expr,
    subquery: &Subquery,
    input: &LogicalPlan,
) -> Result<bool> {
    Ok(operand.nullable(input.schema())? || subquery.subquery.schema().field(0).is_nullable())
}

impl Quantified {
    /// The comparison in terms of `EXISTS`, for rows of `input`.
    pub(super) fn with_exists(
        self,
        rewriter: &Rewriter,
        input: &LogicalPlan,
        reading: &Reading,
    ) -> Result<Expr> {
        let rows = Rows::new(rewriter, &self.subquery)?;
        let operand = references::outer(self.operand.clone(), input.schema())?;
        let comparison = binary_expr(operand, self.op, rows.value());
        let is_null = may_be_null(&self.operand, &self.subquery, input)?;
        // Of ALL, what a row can show is that it does not hold.
        let decides =
            if self.is_all { Expr::Not(Box::new(comparison.clone())) } else { comparison };
        // What is true when no row decides.
        let otherwise = self.is_all != self.is_negated;
        let joins_on_keys = rows.is_the_same_for_all && self.operand.any_column_refs();
        if matches!(reading, Reading::Truth) && otherwise && !(is_null && joins_on_keys) {
            let against = if is_null { Expr::IsNotFalse(Box::new(decides)) } else { decides };
            return rows.exists(against).map(|exists| Expr::Not(Box::new(exists)));
        }
        let decided = rows.exists(decides.clone())?;
        let mut branches = vec![(Box::new(decided), Box::new(lit(!otherwise)))];
        if is_null {
            let null = Box::new(Expr::Literal(ScalarValue::Boolean(None), None));
            for undecided in self.undecided(&rows, decides, input)? {
                branches.push((Box::new(undecided), null.clone()));
            }
        }
        Ok(Expr::Case(Case::new(None, branches, Some(Box::new(lit(otherwise))))))
    }

    /// Conditions under which the comparison is null, where no row decides it.
    fn undecided(&self, rows: &Rows, decides: Expr, input: &LogicalPlan) -> Result<Vec<Expr>> {
        if !rows.is_the_same_for_all {
            return Ok(vec![rows.exists(Expr::IsNull(Box::new(decides)))?]);
        }
        let mut conditions = Vec::new();
        if self.operand.nullable(input.schema())? {
            let is_null = Expr::IsNull(Box::new(self.operand.clone()));
            conditions.push(is_null.and(rows.exists(lit(true))?));
        }
        if self.subquery.subquery.schema().field(0).is_nullable() {
            conditions.push(rows.exists(Expr::IsNull(Box::new(rows.value())))?);
        }
        Ok(conditions)
    }
}

/// The rows of a subquery under a name of their own.
struct Rows {
    plan: LogicalPlan,
    is_the_same_for_all: bool,
    spans: datafusion::common::Spans,
}

/// The column of the rows of a subquery under a name of their own.
pub(super) fn value_name() -> String {
    reserved("value")
}

impl Rows {
    fn new(rewriter: &Rewriter, subquery: &Subquery) -> Result<Self> {
        let inner = subquery.subquery.as_ref().clone();
        let is_the_same_for_all = references::of_plan(&inner)?.is_empty();
        let column = Column::from(inner.schema().qualified_field(0));
        // No name of a relation: DataFusion's pull-up brings no column through one.
        let value =
            Expr::Column(column).alias_qualified(Some(rewriter.relation("in")), value_name());
        let plan = LogicalPlanBuilder::from(inner).project([value])?.build()?;
        Ok(Self { plan, is_the_same_for_all, spans: subquery.spans.clone() })
    }

    fn value(&self) -> Expr {
        Expr::Column(Column::from(self.plan.schema().qualified_field(0)))
    }

    /// Returns true if some row holds this.
    fn exists(&self, condition: Expr) -> Result<Expr> {
        let builder = LogicalPlanBuilder::from(self.plan.clone());
        let always = condition == lit(true);
        let plan = if always { builder.build()? } else { builder.filter(condition)?.build()? };
        let subquery = references::subquery(plan, self.spans.clone());
        Ok(Expr::Exists(datafusion::logical_expr::expr::Exists { subquery, negated: false }))
    }
}
