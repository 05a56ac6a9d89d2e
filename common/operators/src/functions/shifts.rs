//! `lead` and `lag` that find the next value past nulls.
//!
//! With `IGNORE NULLS`, DataFusion's evaluator over a part of the rows forgets nulls that it has
//! passed, and a limit above the window lets in only as many rows as the offset says, whatever is
//! null in them. Here `IGNORE NULLS` is evaluated over whole partitions. Without it a limit lets in as
//! many rows as the offset says on either side: DataFusion forgets that an offset may be negative,
//! and that a function may run over rows in the reverse of its order.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions_window::lead_lag::{lag_udwf, lead_udwf};
use datafusion::logical_expr::function::{
    ExpressionArgs, PartitionEvaluatorArgs, WindowFunctionSimplification, WindowUDFFieldArgs,
};
use datafusion::logical_expr::{
    Documentation, LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF,
    WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

/// The functions of this module, over DataFusion's of the same name.
pub(super) fn all() -> [Arc<WindowUDF>; 2] {
    [lead_udwf(), lag_udwf()].map(shift)
}

fn shift(inner: Arc<WindowUDF>) -> Arc<WindowUDF> {
    Arc::new(WindowUDF::from(Shift { inner }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Shift {
    inner: Arc<WindowUDF>,
}

impl WindowUDFImpl for Shift {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let offset = args.input_exprs().get(1).and_then(|it| it.downcast_ref::<Literal>());
        if offset.is_some_and(|offset| offset.value().is_null()) {
            return plan_err!("the offset of `{}` is null", self.name());
        }
        let ignores_nulls = args.ignore_nulls();
        let inner = self.inner.partition_evaluator_factory(args)?;
        Ok(if ignores_nulls { Box::new(WholePartition { inner }) } else { inner })
    }

    fn simplify(&self) -> Option<WindowFunctionSimplification> {
        self.inner.simplify()
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        self.inner.field(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.inner.reverse_expr() {
            ReversedUDWF::Reversed(inner) => ReversedUDWF::Reversed(shift(inner)),
            other => other,
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        let Some(offset) = args.get(1) else { return LimitEffect::Relative(1) };
        let offset = offset.downcast_ref::<Literal>().map(Literal::value);
        match offset {
            Some(ScalarValue::Int64(Some(offset))) => {
                match usize::try_from(offset.unsigned_abs()) {
                    Ok(rows) => LimitEffect::Relative(rows),
                    Err(_) => LimitEffect::Unknown,
                }
            }
            _ => LimitEffect::Unknown,
        }
    }
}

/// An evaluator that is given whole partitions only.
#[derive(Debug)]
struct WholePartition {
    inner: Box<dyn PartitionEvaluator>,
}

impl PartitionEvaluator for WholePartition {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        self.inner.evaluate_all(values, rows)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.inner.evaluate(values, range)
    }

    fn supports_bounded_execution(&self) -> bool {
        false
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}
