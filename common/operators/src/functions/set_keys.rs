//! Keys of grouping sets that claim nothing.
//!
//! A set without a key gives null for it. DataFusion forgets that: it takes what it knows of a key
//! before the aggregate for true of the key's column behind it, such as its order, that it is
//! constant, that it equals another key, or that its values are placed by hash. Sorts and exchanges
//! were left out, and rows came out in the wrong order. Before a plan is made, every key of grouping
//! sets is wrapped in a function of which DataFusion knows nothing
//! ([`grouping_sets_without_claims`]):
//!
//! ```text
//! rollup(a, b)  ->  rollup(set_key(a, 0, set_key()), set_key(b, 1, set_key()))
//! ```
//!
//! The number tells keys apart that are equal. The call without arguments is no constant to
//! DataFusion, as would be a call all of whose arguments are. A key may be null, also one that is in every
//! set: so says the query, and a window above it is planned for such a column.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::physical_name;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, GroupingSet, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, lit,
};

use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::prepared::with_replaced;

/// The function, for the registries of driver and executors.
pub(super) fn function() -> Arc<ScalarUDF> {
    let kinds = vec![TypeSignature::Nullary, TypeSignature::Any(3)];
    Arc::new(ScalarUDF::from(SetKey { signature: Signature::one_of(kinds, Volatility::Stable) }))
}

/// The expression in a call of the function, for other values of which DataFusion knows too much.
///
/// # Errors
/// Those of DataFusion when it looks for the type.
pub fn unknown(value: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    let call = |args: Vec<Arc<dyn PhysicalExpr>>| {
        ScalarFunctionExpr::try_new(function(), args, schema, Arc::new(ConfigOptions::default()))
    };
    let place: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::UInt64(None)));
    let nothing: Arc<dyn PhysicalExpr> = Arc::new(call(Vec::new())?);
    Ok(Arc::new(call(vec![value, place, nothing])?))
}

/// The query with keys of grouping sets of which DataFusion knows nothing.
///
/// # Errors
/// Those of DataFusion's traversal.
pub fn grouping_sets_without_claims(query: &LogicalPlan) -> Result<Cow<'_, LogicalPlan>> {
    let applies = |plan: &LogicalPlan| matches!(plan, LogicalPlan::Aggregate(aggregate) if sets(aggregate).is_some());
    with_replaced(query, applies, |plan| match plan {
        LogicalPlan::Aggregate(aggregate) => Ok(LogicalPlan::Aggregate(without_claims(aggregate)?)),
        plan => Ok(plan),
    })
}

fn sets(aggregate: &Aggregate) -> Option<&GroupingSet> {
    match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(sets)] => Some(sets),
        _ => None,
    }
}

fn without_claims(aggregate: Aggregate) -> Result<Aggregate> {
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
    let mut known = Vec::new();
    let groups = group_expr.into_iter().map(|expr| match expr {
        Expr::GroupingSet(sets) => Expr::GroupingSet(wrapped(sets, &mut known)),
        other => other,
    });
    Aggregate::try_new_with_schema(input, groups.collect(), aggr_expr, schema)
}

fn wrapped(sets: GroupingSet, known: &mut Vec<Expr>) -> GroupingSet {
    let mut keys = |keys: Vec<Expr>| keys.into_iter().map(|key| set_key(key, known)).collect();
    match sets {
        GroupingSet::Rollup(of) => GroupingSet::Rollup(keys(of)),
        GroupingSet::Cube(of) => GroupingSet::Cube(keys(of)),
        GroupingSet::GroupingSets(sets) => {
            GroupingSet::GroupingSets(sets.into_iter().map(keys).collect())
        }
    }
}

/// The key in a call of the function, with its place among the keys that are known.
fn set_key(key: Expr, known: &mut Vec<Expr>) -> Expr {
    let place = known.iter().position(|other| *other == key).unwrap_or_else(|| {
        known.push(key.clone());
        known.len() - 1
    });
    let place = lit(u64::try_from(place).unwrap_or(u64::MAX));
    let function = function();
    let unknown = function.call(Vec::new());
    function.call(vec![key, place, unknown])
}

/// The function `set_key`: its first argument, or null when it has none.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SetKey {
    signature: Signature,
}

impl ScalarUDFImpl for SetKey {
    fn name(&self) -> &'static str {
        "set_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(key) = args.arg_fields.first() else {
            return Ok(Arc::new(Field::new(self.name(), DataType::Null, true)));
        };
        // What is no key of a set has no place, and is null where its value is.
        let is_key = matches!(args.scalar_arguments.get(1), Some(Some(place)) if !place.is_null());
        let is_nullable = is_key || key.is_nullable();
        Ok(Arc::new(key.as_ref().clone().with_nullable(is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let key = args.args.into_iter().next();
        Ok(key.unwrap_or(ColumnarValue::Scalar(ScalarValue::Null)))
    }

    /// The name of the key, which is that of its column in the result.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args.first() {
            Some(key) => physical_name(key),
            None => Ok(format!("{}()", self.name())),
        }
    }
}
