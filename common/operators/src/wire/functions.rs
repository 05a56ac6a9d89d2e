//! Functions travel by name, so the driver sees that executors mean the same by it.
//!
//! Every function of a plan is encoded through here, wherever it stands. One that executors do not
//! know, or know otherwise, would fail in a task, perhaps after hours, or answer something else.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};

pub(crate) fn check_scalar(known: &TaskContext, function: &ScalarUDF) -> Result<()> {
    let name = function.name();
    check(name, known.scalar_functions().get(name).map(Arc::as_ref), function)
}

/// Marks an aggregate over rows in the order it wants, beside its name.
pub(crate) const IN_ORDER: &[u8] = b"in order";

/// The mark of an aggregate; empty for one that is as executors know it.
pub(crate) fn mark_of_aggregate(
    context: &TaskContext,
    function: &AggregateUDF,
) -> Result<&'static [u8]> {
    let known = context.aggregate_functions().get(function.name());
    let with_order = |in_order| function.clone().with_beneficial_ordering(in_order).ok().flatten();
    if let Some(known) = known
        && with_order(true).as_ref() == Some(function)
        && with_order(false).as_ref() == Some(known)
    {
        return Ok(IN_ORDER);
    }
    check_aggregate(context, function)?;
    Ok(b"")
}

pub(crate) fn check_aggregate(known: &TaskContext, function: &AggregateUDF) -> Result<()> {
    let name = function.name();
    check(name, known.aggregate_functions().get(name).map(Arc::as_ref), function)
}

/// The aggregate over rows in the order it wants.
pub(crate) fn in_order(function: &AggregateUDF) -> Result<Arc<AggregateUDF>> {
    let in_order = function.clone().with_beneficial_ordering(true)?;
    in_order.map(Arc::new).ok_or_else(|| unknown(function.name()))
}

pub(crate) fn check_window(known: &TaskContext, function: &WindowUDF) -> Result<()> {
    let name = function.name();
    check(name, known.window_functions().get(name).map(Arc::as_ref), function)
}

pub(crate) fn check_higher_order(known: &TaskContext, function: &HigherOrderUDF) -> Result<()> {
    let name = function.name();
    check(name, known.higher_order_functions().get(name).map(Arc::as_ref), function)
}

fn check<F: PartialEq>(name: &str, known: Option<&F>, function: &F) -> Result<()> {
    match known {
        Some(known) if known == function => Ok(()),
        Some(_) => Err(DataFusionError::NotImplemented(format!(
            "the function `{name}` of this plan is not the one that the executors of a cluster \
             have under that name: it was replaced, or bound to other settings than the \
             session's; use the master `local[*]`, or make the query anew"
        ))),
        None => Err(unknown(name)),
    }
}

/// The error for a function that executors do not know.
pub(crate) fn unknown(name: &str) -> DataFusionError {
    DataFusionError::NotImplemented(format!(
        "the function `{name}` is not known to the executors of a cluster: functions of your own \
         run on the master `local[*]` only"
    ))
}

/// The error for an operator or expression without an encoding.
pub(crate) fn cannot_travel(name: &str) -> DataFusionError {
    DataFusionError::NotImplemented(format!(
        "`{name}` does not run on a cluster; use the master `local[*]`"
    ))
}
