//! Variance, covariance, correlation and regression over window frames that forget what leaves them.
//!
//! DataFusion takes a leaving row out of the moments by arithmetic, so that infinity and NaN stay
//! for ever, and large values leave their rounding behind. Here the frame is a queue of two stacks as
//! in [`super::sliding`], whose elements are the function's own partial states, and merging is the
//! function's own. A row costs two merges.
//!
//! DataFusion's `corr` is null beside NaN in one column, and its `regr_r2` where y is constant. Here they are NaN and 1,
//! as in PostgreSQL.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::functions_aggregate::{correlation, covariance, regr, stddev, variance};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature,
};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

/// The functions of this module, over DataFusion's of the same name.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let moments = [
        variance::var_samp_udaf(),
        variance::var_pop_udaf(),
        stddev::stddev_udaf(),
        stddev::stddev_pop_udaf(),
        covariance::covar_samp_udaf(),
        covariance::covar_pop_udaf(),
        correlation::corr_udaf(),
    ];
    let lines = [
        regr::regr_slope_udaf(),
        regr::regr_intercept_udaf(),
        regr::regr_count_udaf(),
        regr::regr_r2_udaf(),
        regr::regr_avgx_udaf(),
        regr::regr_avgy_udaf(),
        regr::regr_sxx_udaf(),
        regr::regr_syy_udaf(),
        regr::regr_sxy_udaf(),
    ];
    let folded = |inner| Arc::new(AggregateUDF::from(FoldedFrames { inner }));
    moments.into_iter().chain(lines).map(folded).collect()
}

/// The function of this module that takes a function of DataFusion's place.
pub fn folded_frames(function: &AggregateUDF) -> Option<Arc<AggregateUDF>> {
    let is_ours = function.inner().is::<FoldedFrames>();
    all().into_iter().find(|ours| !is_ours && ours.name() == function.name())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FoldedFrames {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for FoldedFrames {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let inner = self.inner.accumulator(args)?;
        Ok(match self.name() {
            "corr" => Box::new(NotNull { inner, value: correlation_of_nan }),
            "regr_r2" => Box::new(NotNull { inner, value: fit_of_constant }),
            _ => inner,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    /// Returns false for `corr`: DataFusion's accumulator of groups adds up squares of the values,
    /// and large ones leave their rounding behind.
    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.name() != "corr" && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return self.inner.create_sliding_accumulator(args);
        }
        let ours = AggregateUDF::from(Self { inner: Arc::clone(&self.inner) });
        let call = Call::new(Arc::new(ours), &args);
        Ok(Box::new(FoldedFrame { back: call.accumulator()?, call, front: vec![], rows: vec![] }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_udf()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }
}

/// An accumulator that is null where it has a value, which follows from its state.
#[derive(Debug)]
struct NotNull {
    inner: Box<dyn Accumulator>,
    value: fn(&[ScalarValue]) -> Option<f64>,
}

/// NaN beside values that are not constant: `corr` has the squares of its two columns at 2 and 4.
fn correlation_of_nan(state: &[ScalarValue]) -> Option<f64> {
    let [_, _, ScalarValue::Float64(Some(x)), _, ScalarValue::Float64(Some(y)), _] = state else {
        return None;
    };
    (*x != 0.0 && *y != 0.0 && (x.is_nan() || y.is_nan())).then_some(f64::NAN)
}

/// A line through values that are constant fits them: `regr_r2` has the squares of x and y at 3 and 4.
fn fit_of_constant(state: &[ScalarValue]) -> Option<f64> {
    let [_, _, _, ScalarValue::Float64(Some(x)), ScalarValue::Float64(Some(y)), _] = state else {
        return None;
    };
    (*x != 0.0 && *y == 0.0).then_some(1.0)
}

impl Accumulator for NotNull {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?;
        Ok(match value {
            ScalarValue::Float64(None) => ScalarValue::Float64((self.value)(&self.state()?)),
            value => value,
        })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

/// One call of a function, from which accumulators are made.
struct Call {
    function: Arc<AggregateUDF>,
    result: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    is_reversed: bool,
    name: String,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Call {
    fn new(function: Arc<AggregateUDF>, args: &AccumulatorArgs<'_>) -> Self {
        Self {
            function,
            result: Arc::clone(&args.return_field),
            schema: args.schema.clone(),
            ignore_nulls: args.ignore_nulls,
            order_bys: args.order_bys.to_vec(),
            is_reversed: args.is_reversed,
            name: args.name.to_owned(),
            exprs: args.exprs.to_vec(),
            expr_fields: args.expr_fields.to_vec(),
        }
    }

    fn accumulator(&self) -> Result<Box<dyn Accumulator>> {
        self.function.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.result),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: false,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        })
    }
}

type State = Vec<ArrayRef>;

/// A window frame; `back` is the accumulator of `rows`, the rows that came since the last turn.
struct FoldedFrame {
    call: Call,
    front: Vec<State>,
    rows: Vec<Vec<ArrayRef>>,
    back: Box<dyn Accumulator>,
}

impl fmt::Debug for FoldedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoldedFrame").field("name", &self.call.name).finish_non_exhaustive()
    }
}

impl FoldedFrame {
    fn pop(&mut self) -> Result<()> {
        if self.front.is_empty() {
            while let Some(row) = self.rows.pop() {
                let mut sum = self.call.accumulator()?;
                sum.update_batch(&row)?;
                if let Some(after) = self.front.last() {
                    sum.merge_batch(after)?;
                }
                self.front.push(state_of(&mut *sum)?);
            }
            self.back = self.call.accumulator()?;
        }
        self.front.pop();
        Ok(())
    }
}

fn state_of(accumulator: &mut dyn Accumulator) -> Result<State> {
    accumulator.state()?.iter().map(ScalarValue::to_array).collect()
}

impl Accumulator for FoldedFrame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |column| column.len());
        let row = |at| values.iter().map(|column| column.slice(at, 1)).collect();
        self.rows.extend((0..rows).map(row));
        self.back.update_batch(values)
    }

    /// Rows leave in the order in which they came.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |column| column.len());
        (0..rows).try_for_each(|_| self.pop())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some(front) = self.front.last() else { return self.back.evaluate() };
        let mut frame = self.call.accumulator()?;
        frame.merge_batch(front)?;
        frame.merge_batch(&state_of(&mut *self.back)?)?;
        frame.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("a window frame has no partial state")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        internal_err!("window frames are not merged")
    }

    fn size(&self) -> usize {
        let cells = self.front.iter().chain(&self.rows).flatten();
        size_of_val(self) + cells.map(|cell| cell.get_array_memory_size()).sum::<usize>()
    }
}
