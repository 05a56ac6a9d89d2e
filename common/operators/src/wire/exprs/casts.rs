//! The output field of casts, and null for what can't be cast.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, FieldRef};
use datafusion::common::format::DEFAULT_CAST_OPTIONS;
use datafusion::common::{Result, internal_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, TryCastExpr};
use datafusion_proto::protobuf;
use prost::Message;

use super::{CarriedExpr, Input, LostExpr};

/// A [`CastExpr`] or [`TryCastExpr`] whose operand travels as input.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CastMessage {
    #[prost(message, optional, tag = "1")]
    target: Option<protobuf::Field>,
    /// True if the field is the output's, not made from a data type.
    #[prost(bool, tag = "2")]
    is_explicit: bool,
    #[prost(bool, tag = "3")]
    is_try: bool,
    /// True if what can't be cast is null.
    #[prost(bool, tag = "4")]
    is_safe: bool,
}

pub(super) fn lost(cast: &CastExpr) -> Result<Option<LostExpr>> {
    let is_explicit = cast.has_explicit_metadata();
    let is_safe = cast.cast_options().safe;
    if !is_explicit && !is_safe {
        return Ok(None);
    }
    let message = CastMessage { is_safe, ..cast_message(cast.target_field(), is_explicit)? };
    Ok(Some(lost_cast(message, cast.expr())))
}

pub(super) fn lost_of_try(cast: &TryCastExpr) -> Result<Option<LostExpr>> {
    if cast.target_metadata().is_none() {
        return Ok(None);
    }
    let message = CastMessage { is_try: true, ..cast_message(cast.target_field(), true)? };
    Ok(Some(lost_cast(message, cast.expr())))
}

fn cast_message(target: &FieldRef, is_explicit: bool) -> Result<CastMessage> {
    let target = Some(target.as_ref().try_into()?);
    Ok(CastMessage { target, is_explicit, is_try: false, is_safe: false })
}

fn lost_cast(cast: CastMessage, operand: &Arc<dyn PhysicalExpr>) -> LostExpr {
    LostExpr {
        fields: CarriedExpr { cast: Some(cast), ..CarriedExpr::default() },
        inputs: vec![Input::Whole(Arc::clone(operand))],
    }
}

impl CastMessage {
    pub(super) fn restore(&self, operand: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let operand = Arc::clone(operand);
        let target: FieldRef = match &self.target {
            Some(target) => Arc::new(Field::try_from(target)?),
            None => return internal_err!("a cast to no type"),
        };
        if self.is_try {
            return Ok(Arc::new(TryCastExpr::new_with_target_field(operand, target)));
        }
        let mut options = DEFAULT_CAST_OPTIONS;
        options.safe = self.is_safe;
        Ok(Arc::new(if self.is_explicit {
            CastExpr::new_with_target_field(operand, target, Some(options))
        } else {
            CastExpr::new(operand, target.data_type().clone(), Some(options))
        }))
    }
}
