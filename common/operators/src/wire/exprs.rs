//! Expressions: checked arithmetic, the field and options of casts, and metadata of fields.
//! DataFusion's encoding loses all of them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::format::DEFAULT_CAST_OPTIONS;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal, TryCastExpr};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion_proto::protobuf;
use datafusion_proto::protobuf::physical_expr_node::ExprType;
use prost::Message;

use crate::canonical;

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

/// A [`BinaryExpr`] whose operands travel as inputs.
#[derive(Clone, PartialEq, Message)]
struct ArithmeticMessage {
    #[prost(string, tag = "1")]
    operator: String,
    #[prost(bool, tag = "2")]
    fails_on_overflow: bool,
}

/// A [`CastExpr`] or [`TryCastExpr`] whose operand travels as input.
#[derive(Clone, PartialEq, Message)]
struct CastMessage {
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
        let is_checked = has_checks(expr, *binary.op())?;
        return is_checked.then(|| lost_of_arithmetic(expr, binary)).transpose();
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return lost_of_cast(cast);
    }
    if let Some(cast) = expr.downcast_ref::<TryCastExpr>() {
        let field = cast.target_metadata().map(|_| cast.target_field());
        let Some(field) = field else { return Ok(None) };
        let message = CastMessage { is_try: true, ..cast_message(field, true)? };
        return Ok(Some(lost_cast(message, cast.expr())));
    }
    if expr.is::<Literal>() {
        let field = field_with_metadata(expr)?;
        return Ok(field.map(|field| LostExpr {
            fields: CarriedExpr { literal: Some(field), ..CarriedExpr::default() },
            inputs: vec![Input::AsDataFusion(Arc::clone(expr))],
        }));
    }
    if expr.is::<ScalarFunctionExpr>() {
        let field = field_with_metadata(expr)?;
        return Ok(field.map(|field| LostExpr {
            fields: CarriedExpr { function: Some(field), ..CarriedExpr::default() },
            inputs: vec![Input::AsDataFusion(Arc::clone(expr))],
        }));
    }
    Ok(None)
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

fn lost_of_arithmetic(expr: &Arc<dyn PhysicalExpr>, binary: &BinaryExpr) -> Result<LostExpr> {
    let arithmetic = ArithmeticMessage {
        operator: format!("{:?}", binary.op()),
        fails_on_overflow: fails_on_overflow(expr, *binary.op())?,
    };
    Ok(LostExpr {
        fields: CarriedExpr { arithmetic: Some(arithmetic), ..CarriedExpr::default() },
        inputs: [binary.left(), binary.right()].map(|side| Input::Whole(Arc::clone(side))).into(),
    })
}

fn lost_of_cast(cast: &CastExpr) -> Result<Option<LostExpr>> {
    let is_explicit = cast.has_explicit_metadata();
    let is_safe = cast.cast_options().safe;
    if !is_explicit && !is_safe {
        return Ok(None);
    }
    let message = CastMessage { is_safe, ..cast_message(cast.target_field(), is_explicit)? };
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

/// The field of a leaf or function, if it has metadata.
fn field_with_metadata(expr: &Arc<dyn PhysicalExpr>) -> Result<Option<protobuf::Field>> {
    let field = expr.return_field(&Schema::empty())?;
    if field.metadata().is_empty() {
        return Ok(None);
    }
    Ok(Some(field.as_ref().try_into()?))
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
            (Self { literal: Some(field), .. }, [decoded]) => restore_literal(field, decoded),
            (Self { function: Some(field), .. }, [decoded]) => restore_function(field, decoded),
            _ => internal_err!("an unknown expression of {} inputs", inputs.len()),
        }
    }
}

impl ArithmeticMessage {
    fn restore(
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

impl CastMessage {
    fn restore(&self, operand: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
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

fn restore_literal(
    field: &protobuf::Field,
    decoded: &Arc<dyn PhysicalExpr>,
) -> Result<Arc<dyn PhysicalExpr>> {
    let Some(literal) = decoded.downcast_ref::<Literal>() else {
        return internal_err!("`{decoded}` is no literal");
    };
    let metadata = FieldMetadata::from(&Field::try_from(field)?);
    Ok(Arc::new(Literal::new_with_metadata(literal.value().clone(), Some(metadata))))
}

fn restore_function(
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

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::common::ScalarValue;
    use datafusion::physical_expr::expressions::lit;

    use super::*;
    use crate::guard::shape::field_names;

    fn column() -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new("a", 0))
    }

    /// The expression as an executor has it.
    fn after(expr: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        let lost = lost_of_expr(expr).unwrap().unwrap();
        let inputs = lost.inputs.into_iter().map(|input| match input {
            Input::Whole(operand) => operand,
            Input::AsDataFusion(whole) => match whole.downcast_ref::<Literal>() {
                Some(literal) => lit(literal.value().clone()),
                None => whole,
            },
        });
        let bytes = lost.fields.encode_to_vec();
        CarriedExpr::decode(bytes.as_slice()).unwrap().restore(&inputs.collect::<Vec<_>>()).unwrap()
    }

    /// An expression with a field that is not here needs a look: does it travel?
    #[test]
    fn expressions_have_the_fields_that_are_known_here() {
        let binary = BinaryExpr::new(column(), Operator::Plus, column());
        assert_eq!(field_names(&binary), ["left", "op", "right", "fail_on_overflow"]);
        let cast = CastExpr::new(column(), DataType::Int8, None);
        let names = ["expr", "target_field", "explicit_target", "cast_options"];
        assert_eq!(field_names(&cast), names);
        let cast = TryCastExpr::new(column(), DataType::Int8);
        assert_eq!(field_names(&cast), ["expr", "target_field", "explicit_target"]);
        assert_eq!(field_names(&Literal::new(ScalarValue::from(1))), ["value", "field"]);
    }

    #[test]
    fn arithmetic_of_every_operator_stays_checked() {
        for operator in [Operator::Plus, Operator::Minus, Operator::Multiply, Operator::Divide] {
            let checked = BinaryExpr::new(column(), operator, column()).with_fail_on_overflow(true);
            let checked: Arc<dyn PhysicalExpr> = Arc::new(checked);
            assert_eq!(&after(&checked), &checked);
            let plain: Arc<dyn PhysicalExpr> =
                Arc::new(BinaryExpr::new(column(), operator, column()));
            assert!(lost_of_expr(&plain).unwrap().is_none());
        }
    }

    #[test]
    fn casts_keep_their_field_and_whether_they_are_safe() {
        let field = Field::new("f", DataType::Int8, false);
        let field = Arc::new(field.with_metadata([("key".to_owned(), "value".to_owned())].into()));
        let mut safe = DEFAULT_CAST_OPTIONS;
        safe.safe = true;
        let casts: [Arc<dyn PhysicalExpr>; 4] = [
            Arc::new(CastExpr::new(column(), DataType::Int8, Some(safe.clone()))),
            Arc::new(CastExpr::new_with_target_field(column(), Arc::clone(&field), Some(safe))),
            Arc::new(CastExpr::new_with_target_field(column(), Arc::clone(&field), None)),
            Arc::new(TryCastExpr::new_with_target_field(column(), field)),
        ];
        for cast in casts {
            assert_eq!(format!("{:?}", after(&cast)), format!("{cast:?}"));
        }
    }

    #[test]
    fn literals_keep_their_metadata() {
        let metadata = FieldMetadata::from(std::collections::HashMap::from([(
            "ARROW:extension:name".to_owned(),
            "geo".to_owned(),
        )]));
        let literal = Literal::new_with_metadata(ScalarValue::from(1), Some(metadata));
        let literal: Arc<dyn PhysicalExpr> = Arc::new(literal);
        assert_eq!(format!("{:?}", after(&literal)), format!("{literal:?}"));
    }
}
