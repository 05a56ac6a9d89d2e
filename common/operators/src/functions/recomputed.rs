//! Aggregates over window frames whose rows they can't take out again.
//!
//! DataFusion gives an aggregate over a moving frame the rows that enter and those that leave. Of some,
//! such as `string_agg` and `bool_and`, a row can't be taken out, and it refuses them. Here the rows of
//! the frame are kept, and each value is computed from them anew, as in PostgreSQL. It costs a frame's
//! rows for each row.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

/// The accumulator of an aggregate over a moving frame: its own, if rows can be taken out of it.
///
/// # Errors
/// Those of the aggregate.
pub(crate) fn sliding(
    aggregate: &Arc<AggregateUDF>,
    args: AccumulatorArgs,
) -> Result<Box<dyn Accumulator>> {
    let call = Call::new(aggregate, &args);
    let own = aggregate.create_sliding_accumulator(args)?;
    if own.supports_retract_batch() {
        return Ok(own);
    }
    Ok(Box::new(Recomputed { call, frame: VecDeque::new() }))
}

/// An aggregate with its arguments.
struct Call {
    aggregate: Arc<AggregateUDF>,
    return_field: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    is_reversed: bool,
    name: String,
    is_distinct: bool,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Call {
    fn new(aggregate: &Arc<AggregateUDF>, args: &AccumulatorArgs) -> Self {
        Self {
            aggregate: Arc::clone(aggregate),
            return_field: Arc::clone(&args.return_field),
            schema: args.schema.clone(),
            ignore_nulls: args.ignore_nulls,
            order_bys: args.order_bys.to_vec(),
            is_reversed: args.is_reversed,
            name: args.name.to_owned(),
            is_distinct: args.is_distinct,
            exprs: args.exprs.to_vec(),
            expr_fields: args.expr_fields.to_vec(),
        }
    }

    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        self.aggregate.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        })
    }
}

/// The rows of a frame.
struct Recomputed {
    call: Call,
    /// Arguments of the rows, the oldest first.
    frame: VecDeque<Vec<ArrayRef>>,
}

impl Debug for Recomputed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recomputed").field("name", &self.call.name).finish_non_exhaustive()
    }
}

impl Accumulator for Recomputed {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if rows(values) > 0 {
            self.frame.push_back(values.to_vec());
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut leaving = rows(values);
        while leaving > 0 {
            let Some(oldest) = self.frame.pop_front() else { break };
            let left = rows(&oldest).saturating_sub(leaving);
            leaving -= leaving.min(rows(&oldest));
            if left > 0 {
                let from = rows(&oldest) - left;
                self.frame.push_front(oldest.iter().map(|it| it.slice(from, left)).collect());
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut fresh = self.call.accumulator()?;
        for values in &self.frame {
            fresh.update_batch(values)?;
        }
        fresh.evaluate()
    }

    fn size(&self) -> usize {
        let arrays = self.frame.iter().flatten();
        size_of::<Self>()
            + arrays.map(|it| it.to_data().get_slice_memory_size().unwrap_or(0)).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        datafusion::common::internal_err!("values of window frames are never merged")
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

fn rows(values: &[ArrayRef]) -> usize {
    values.first().map_or(0, |values| values.len())
}
