//! Expressions: checked arithmetic, the field and options of casts, and metadata of fields.
//! DataFusion's encoding loses all of them.

mod arithmetic;
mod casts;
mod metadata;

use std::sync::Arc;

use datafusion::common::{Result, internal_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, TryCastExpr};
use datafusion_proto::protobuf;
use datafusion_proto::protobuf::physical_expr_node::ExprType;
use prost::Message;

use crate::canonical;
use arithmetic::ArithmeticMessage;
use casts::CastMessage;

/// The fields of one expression.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CarriedExpr {
    #[prost(message, optional, tag = "1")]
    arithmetic: Option<ArithmeticMessage>,
    #[prost(message, optional, tag = "2")]
    cast: Option<CastMessage>,
    #[prost(message, optional, tag = "3")]
    literal: Option<protobuf::Field>,
    #[prost(message, optional, tag = "4")]
    function: Option<protobuf::Field>,
}

/// An expression that its encoding would lose fields of.
pub(crate) struct LostExpr {
    pub(crate) fields: CarriedExpr,
    pub(crate) inputs: Vec<Input>,
}

/// An expression that travels as an input of the carried fields.
pub(crate) enum Input {
    /// An operand, which may have lost fields too.
    Whole(Arc<dyn PhysicalExpr>),
    /// The expression itself as DataFusion encodes it.
    AsDataFusion(Arc<dyn PhysicalExpr>),
}

/// The fields of an expression that DataFusion's encoding loses; none when it loses nothing.
pub(crate) fn lost_of_expr(expr: &Arc<dyn PhysicalExpr>) -> Result<Option<LostExpr>> {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return arithmetic::lost(expr, binary);
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return casts::lost(cast);
    }
    if let Some(cast) = expr.downcast_ref::<TryCastExpr>() {
        return casts::lost_of_try(cast);
    }
    metadata::lost(expr)
}

impl CarriedExpr {
    /// The expression on the wire.
    pub(crate) fn with_inputs(
        &self,
        inputs: Vec<protobuf::PhysicalExprNode>,
    ) -> protobuf::PhysicalExprNode {
        let node = protobuf::PhysicalExtensionExprNode { expr: canonical::encode(self), inputs };
        protobuf::PhysicalExprNode { expr_id: None, expr_type: Some(ExprType::Extension(node)) }
    }

    /// The expression with all of its fields.
    pub(crate) fn restore(
        &self,
        inputs: &[Arc<dyn PhysicalExpr>],
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match (self, inputs) {
            (Self { arithmetic: Some(arithmetic), .. }, [left, right]) => {
                arithmetic.restore(left, right)
            }
            (Self { cast: Some(cast), .. }, [operand]) => cast.restore(operand),
            (Self { literal: Some(field), .. }, [decoded]) => {
                metadata::restore_literal(field, decoded)
            }
            (Self { function: Some(field), .. }, [decoded]) => {
                metadata::restore_function(field, decoded)
            }
            _ => internal_err!("an unknown expression of {} inputs", inputs.len()),
        }
    }
}

#[cfg(test)]
mod tests;
