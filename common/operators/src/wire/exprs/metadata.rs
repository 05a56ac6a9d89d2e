//! Metadata of the fields of literals and functions.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{Result, internal_err};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion_proto::protobuf;

use super::{CarriedExpr, Input, LostExpr};

pub(super) fn lost(expr: &Arc<dyn PhysicalExpr>) -> Result<Option<LostExpr>> {
    let fields = if expr.is::<Literal>() {
        CarriedExpr { literal: field_with_metadata(expr)?, ..CarriedExpr::default() }
    } else if expr.is::<ScalarFunctionExpr>() {
        CarriedExpr { function: field_with_metadata(expr)?, ..CarriedExpr::default() }
    } else {
        return Ok(None);
    };
    let is_lost = fields != CarriedExpr::default();
    Ok(is_lost.then(|| LostExpr { fields, inputs: vec![Input::AsDataFusion(Arc::clone(expr))] }))
}

/// The field of a leaf or function, if it has metadata.
fn field_with_metadata(expr: &Arc<dyn PhysicalExpr>) -> Result<Option<protobuf::Field>> {
    let field = expr.return_field(&Schema::empty())?;
    if field.metadata().is_empty() {
        return Ok(None);
    }
    Ok(Some(field.as_ref().try_into()?))
}

pub(super) fn restore_literal(
    field: &protobuf::Field,
    decoded: &Arc<dyn PhysicalExpr>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let Some(literal) = decoded.downcast_ref::<Literal>() else {
        return internal_err!("`{decoded}` is no literal");
    };
    let metadata = FieldMetadata::from(&Field::try_from(field)?);
    Ok(Arc::new(Literal::new_with_metadata(literal.value().clone(), Some(metadata))))
}

pub(super) fn restore_function(
    field: &protobuf::Field,
    decoded: &Arc<dyn PhysicalExpr>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let Some(call) = decoded.downcast_ref::<ScalarFunctionExpr>() else {
        return internal_err!("`{decoded}` is no function");
    };
    Ok(Arc::new(ScalarFunctionExpr::new(
        call.name(),
        Arc::new(call.fun().clone()),
        call.args().to_vec(),
        Arc::new(Field::try_from(field)?),
        Arc::new(call.config_options().clone()),
    )))
}
