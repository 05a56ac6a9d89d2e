//! Arithmetic that fails where a result does not fit.

use std::sync::Arc;

use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use prost::Message;

use super::{CarriedExpr, Input, LostExpr};

/// A [`BinaryExpr`] whose operands travel as inputs.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ArithmeticMessage {
    #[prost(string, tag = "1")]
    operator: String,
    #[prost(bool, tag = "2")]
    fails_on_overflow: bool,
}

/// True if a chain of one operator, which DataFusion encodes as a list of operands, is checked
/// anywhere.
fn has_checks(top: &Arc<dyn PhysicalExpr>, operator: Operator) -> Result<bool> {
    let mut next = top;
    while let Some(binary) = next.downcast_ref::<BinaryExpr>().filter(|it| *it.op() == operator) {
        if fails_on_overflow(next, operator)? {
            return Ok(true);
        }
        next = binary.left();
    }
    Ok(false)
}

/// True if arithmetic is checked. An expression does not tell, but it is equal to one that is; small
/// operands make that cheap to see.
fn fails_on_overflow(binary: &Arc<dyn PhysicalExpr>, operator: Operator) -> Result<bool> {
    let operand: Arc<dyn PhysicalExpr> = Arc::new(Column::new("", 0));
    let pair = [Arc::clone(&operand), Arc::clone(&operand)];
    let small = Arc::clone(binary).with_new_children(pair.into())?;
    let checked = BinaryExpr::new(Arc::clone(&operand), operator, operand);
    Ok(small.downcast_ref() == Some(&checked.with_fail_on_overflow(true)))
}

pub(super) fn lost(expr: &Arc<dyn PhysicalExpr>, binary: &BinaryExpr) -> Result<Option<LostExpr>> {
    if !has_checks(expr, *binary.op())? {
        return Ok(None);
    }
    let arithmetic = ArithmeticMessage {
        operator: format!("{:?}", binary.op()),
        fails_on_overflow: fails_on_overflow(expr, *binary.op())?,
    };
    Ok(Some(LostExpr {
        fields: CarriedExpr { arithmetic: Some(arithmetic), ..CarriedExpr::default() },
        inputs: [binary.left(), binary.right()].map(|side| Input::Whole(Arc::clone(side))).into(),
    }))
}

impl ArithmeticMessage {
    pub(super) fn restore(
        &self,
        left: &Arc<dyn PhysicalExpr>,
        right: &Arc<dyn PhysicalExpr>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let operator = Operator::from_proto_name(&self.operator)
            .ok_or_else(|| internal_datafusion_err!("no operator `{}`", self.operator))?;
        let binary = BinaryExpr::new(Arc::clone(left), operator, Arc::clone(right));
        Ok(Arc::new(binary.with_fail_on_overflow(self.fails_on_overflow)))
    }
}
